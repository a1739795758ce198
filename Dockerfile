# An image with the commands, for CPUs. In a checkout:
#
#   docker build -t kipoi_mcdropout .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" kipoi_mcdropout mcdropout --help
#
# The folder that is mounted on /data holds the model, the genome, and the results. The image has no git, so models
# of Kipoi's zoo must be folders of your own (--source dir).
FROM python:3.12-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/mcdropout
ENV PATH=/opt/mcdropout/bin:$PATH
# The versions that the tests use, also where pip builds a package. The CPU build of torch comes from PyTorch's own index.
COPY constraints.txt ./
ENV PIP_CONSTRAINT=/source/constraints.txt PIP_BUILD_CONSTRAINT=/source/constraints.txt
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
COPY setup.cfg setup.py pyproject.toml MANIFEST.in LICENSE README.md kipoi_plugin.yaml ./
COPY kipoi_mcdropout kipoi_mcdropout
RUN pip install --no-cache-dir --constraint constraints.txt '.[plot]'

FROM python:3.12-slim-bookworm
COPY --from=build /opt/mcdropout /opt/mcdropout
ENV PATH=/opt/mcdropout/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib
RUN useradd --create-home --uid 1000 mcdropout
USER 1000
WORKDIR /data
# Not an entry point: Snakemake and Nextflow start a shell of their own in the container.
CMD ["mcdropout", "--help"]
