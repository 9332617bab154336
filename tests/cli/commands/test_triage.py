"""Asking what is to blame, on the command line."""


def test_a_job_without_a_kernel_image_is_refused_in_one_line(tx81, queued):
    ran = tx81("triage", queued)

    assert (ran.code, ran.err.count("\n")) == (5, 1)
    assert "is of kind quantize, which has no kernel image" in ran.err


def test_an_unknown_triage_is_said_to_be_unknown(tx81, at_site):
    assert "there is no triage 7" in tx81("triage", "show", 7).err
    assert tx81("triage", 1, "--repeats", 0).code == 2
