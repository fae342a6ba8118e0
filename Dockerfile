# Leadtally: `docker run … leadtally serve` (the default) or `… leadtally worker`, with DATABASE_URL set.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 LEADTALLY_HOST=0.0.0.0 LEADTALLY_LOG_JSON=1
WORKDIR /srv/leadtally

COPY pyproject.toml requirements.lock README.md ./
COPY app ./app
COPY migrations ./migrations
RUN pip install --constraint requirements.lock .

RUN useradd --system --no-create-home leadtally
USER leadtally
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["leadtally"]
CMD ["serve"]
