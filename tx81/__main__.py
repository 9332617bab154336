"""`python -m tx81`: the command line, as `tx81`."""

from tx81.start import main

if __name__ == "__main__":
    main()
