# syntax=docker/dockerfile:1
# The demo of docker-compose.yml. Another program of this workspace: --build-arg PACKAGE=.. --build-arg PROGRAM=..
# The version of rust-toolchain.toml.
ARG RUST_VERSION=1.95.0
FROM rust:${RUST_VERSION}-slim-bookworm AS builder
ARG PACKAGE=millstream-examples
ARG PROGRAM=order_inventory
WORKDIR /source
COPY scripts/prerequisites.sh scripts/
RUN scripts/prerequisites.sh build
COPY . .
# RocksDB takes minutes to compile: it stays in the cache when the sources change.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target cargo build --release --locked -p "${PACKAGE}" --bin "${PROGRAM}" \
    && strip -o /program "/target/release/${PROGRAM}"

FROM debian:bookworm-slim
RUN useradd --system --no-create-home millstream \
    && install -d -o millstream -g millstream /var/lib/millstream
COPY --from=builder /program /usr/local/bin/program
USER millstream
VOLUME /var/lib/millstream
EXPOSE 8080
# The programs end cleanly on Ctrl-C's signal.
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/local/bin/program"]
