# docker build -t deltaprop .
# docker run --rm --user "$(id -u)" -v "$PWD:/work" deltaprop train data/penguins.csv --target species
FROM python:3.12-slim AS build
COPY . /source
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.12-slim
COPY --from=build /wheels /wheels
RUN python -m pip install --no-cache-dir /wheels/*.whl && rm -r /wheels
# So that the first training run in a container is compiled. Only root may write to this cache; code
# for another kind of processor goes to the user's own.
ENV DELTAPROP_CACHE_DIR=/opt/deltaprop
RUN python -m deltaprop.engines.fused.compiling && chmod -R a+rX /opt/deltaprop
RUN useradd --create-home user
USER user
WORKDIR /work
ENTRYPOINT ["deltaprop"]
