# One image for every process of the product; the command says which.
FROM python:3.11.15-slim-trixie

# The emulated toolchain compiles, with a real compiler, the C that its converter writes.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /opt/tx81

# Wheels only: a source package would run its own code here, and need tools that its hash does not cover.
COPY requirements.lock ./
RUN pip install --require-hashes --only-binary=:all: --requirement requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY tx81 tx81
COPY orchestrator orchestrator
COPY workers workers
COPY api api
COPY cli cli
COPY emulator emulator
COPY migrations migrations
RUN pip install --no-deps --no-build-isolation .

# A new volume takes over owner and mode of the folder it is mounted on. The numbers are fixed because volumes outlive
# images. Tools run as tx81-tools, who may pass through the shared volume and read models, and nothing else.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tx81 \
    && useradd --uid 10002 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tx81-tools \
    && install --directory --owner=tx81 --group=tx81 --mode=0750 /srv/api /srv/flower \
    && install --directory --owner=tx81 --group=tx81 --mode=0711 /srv/tx81 \
    && install --directory --owner=tx81 --group=tx81 --mode=0755 /srv/tx81/models

# Safe path: what lies in the current folder is never imported.
ENV PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
WORKDIR /
USER 10001:10001
