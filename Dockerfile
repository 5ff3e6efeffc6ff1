# docker build -t deltaprop . && docker run --rm -v "$PWD:/work" deltaprop train data/penguins.csv --target species
FROM python:3.12-slim AS build
COPY . /source
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.12-slim
COPY --from=build /wheels /wheels
RUN python -m pip install --no-cache-dir /wheels/*.whl && rm -r /wheels
RUN useradd --create-home user
USER user
# So that the first training run in a container is compiled.
ENV DELTAPROP_CACHE_DIR=/home/user/.cache/deltaprop
RUN python -m deltaprop.engines.fused.compiling
WORKDIR /work
ENTRYPOINT ["deltaprop"]
