# docker build --tag weighbridge .
# docker run --rm --read-only --tmpfs /tmp --network none --volume "$PWD/models:/models:ro" weighbridge scan /models
#
# BASE by digest is what makes a build repeatable: --build-arg BASE=python:3.13-slim@sha256:…
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ARG EXTRAS=lz4,zstd
WORKDIR /source
COPY . .
RUN python -m venv /opt/weighbridge \
 && /opt/weighbridge/bin/python -m pip install --no-cache-dir --disable-pip-version-check ".[${EXTRAS}]" \
 && /opt/weighbridge/bin/python -m pip uninstall --yes pip \
 && /opt/weighbridge/bin/weighbridge --version

FROM ${BASE}
LABEL org.opencontainers.image.title="Weighbridge" \
      org.opencontainers.image.description="Find out what a model file would do before anybody loads it." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/weighbridge /opt/weighbridge
COPY deploy/kubernetes/initialize.sh /usr/local/bin/weighbridge-initialize
# Number and not a name, so that Kubernetes can see that it is not root. /data is the one place that outlives a run.
RUN useradd --uid 65532 --user-group --home-dir /data --create-home --shell /usr/sbin/nologin weighbridge
ENV PATH=/opt/weighbridge/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    WEIGHBRIDGE_HOME=/data/store \
    WEIGHBRIDGE_CONFIG=/data/config
USER 65532:65532
WORKDIR /data
HEALTHCHECK NONE
ENTRYPOINT ["weighbridge"]
CMD ["--help"]
