# syntax=docker/dockerfile:1
# The image: one program, the certificates to trust, and no shell. `docker build -t tagwarden .`

FROM docker.io/library/rust:1.95-bookworm AS build
# The compiler of the image, without the formatter and the lints that rust-toolchain.toml asks for.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
# The cache of a later build; the program is copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tagwarden \
    && install -D target/release/tagwarden /out/usr/local/bin/tagwarden \
    && install -d -o 65532 -g 65532 -m 0750 /out/var/lib/tagwarden

# glibc, libgcc, CA certificates, time zones and the user 65532: nothing else.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Tagwarden" \
      org.opencontainers.image.description="Declarative tag compliance for AWS accounts" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/ /
USER 65532:65532
# Where the store is: the only directory that is written to.
WORKDIR /var/lib/tagwarden
VOLUME ["/var/lib/tagwarden"]
# In a container, everybody else is outside.
ENV TAGWARDEN_LISTEN=0.0.0.0:8080 \
    TAGWARDEN_METRICS_LISTEN=0.0.0.0:8081
EXPOSE 8080 8081
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/tagwarden", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/tagwarden"]
CMD ["run"]
