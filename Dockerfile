# pcsearch on one machine. The container runs the quickstart; other commands follow the image:
#
#   docker build -t pcsearch .
#   docker run --rm pcsearch
#   docker run --rm -v ~/birds:/birds:ro -v ~/runs:/campaigns/runs pcsearch tune --images /birds
#
# With an NVIDIA GPU, run it with --gpus all. PyTorch's ordinary build trains on either.

FROM python:3.12-slim
COPY pyproject.toml README.md LICENSE /src/
COPY recipes /src/recipes
COPY docs/recipes.md /src/docs/recipes.md
COPY pcsearch /src/pcsearch
RUN pip install --no-cache-dir /src && rm -r /src
# Not root: what a container writes into a mounted folder belongs to its user.
RUN useradd --create-home --uid 1000 person && install -d -o person /campaigns
USER person
WORKDIR /campaigns
ENV PCSEARCH_CACHE=/home/person/.cache/pcsearch
ENTRYPOINT ["pcsearch"]
CMD ["tune", "quickstart"]
