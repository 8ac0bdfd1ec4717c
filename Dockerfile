# ecsbeat in an image that holds nothing but it: one static binary, the CA certificates of Debian, a user.
#
#   docker build -t ecsbeat .                       compiles it; needs a registry for the Rust image
#   docker build -t ecs-sim --target ecs-sim .      the simulator, to try ecsbeat on
#
# Where no base image can be had, `--target ready-made` puts a tree `rootfs/` of the context into the image as it is,
# and an empty `data/`: tests/images.sh makes them out of binaries that are there. That stage comes early, because the
# classic builder builds every stage on its way.
#
#   docker run -v ./ecsbeat.yml:/ecsbeat.yml:ro -v ecsbeat-data:/data ecsbeat --environment=container
#
# The configuration is /ecsbeat.yml, or what `-c` names. A file of another owner than root needs --strict.perms=false.

# Any image with Rust 1.90 or newer on Debian.
ARG RUST_IMAGE=docker.io/library/rust:1-bookworm

# --- What all images have in common: users, and where names come from.
FROM scratch AS frame
LABEL org.opencontainers.image.title="ecsbeat" \
      org.opencontainers.image.description="Ships metrics, events and billing of Dell EMC ECS to the Elastic Stack" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY deploy/image/ /

# --- A tree that is there already.
FROM frame AS ready-made
COPY rootfs/ /
# Of a folder that is there already the owner would stay.
COPY --chown=65532:65532 data /data
VOLUME /data
WORKDIR /data
USER 65532:65532
EXPOSE 5066
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["/ecsbeat", "health"]
ENTRYPOINT ["/ecsbeat"]
CMD ["--environment=container"]

# --- Compiles.
FROM ${RUST_IMAGE} AS build
# etcd's protocol is compiled with protoc; librdkafka and its OpenSSL with a C and C++ compiler, make and perl.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ libprotobuf-dev make perl protobuf-compiler \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG COMMIT=unknown
# Static, with glibc: its resolver reads /etc/hosts and asks DNS without a library. Relocations are packed, which takes
# a twentieth off. The target is named, so that the flags do not reach build scripts and macros.
ENV RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" ECSBEAT_COMMIT=$COMMIT
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && cargo build --release --locked --target "$target" --bin ecsbeat \
 && install -D "target/$target/release/ecsbeat" /rootfs/ecsbeat \
 && strip /rootfs/ecsbeat \
 && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ca-certificates.crt \
 && mkdir /empty

# --- The simulator.
FROM build AS build-sim
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && cargo build --release --locked --target "$target" -p ecs-sim \
 && install -D "target/$target/release/ecs-sim" /rootfs-sim/ecs-sim \
 && strip /rootfs-sim/ecs-sim

FROM frame AS ecs-sim
COPY --from=build-sim /rootfs-sim/ /
COPY --from=build --chown=65532:65532 /empty /data
VOLUME /data
WORKDIR /data
USER 65532:65532
ENTRYPOINT ["/ecs-sim"]

# --- The product.
FROM frame
COPY --from=build /rootfs/ /
COPY --from=build --chown=65532:65532 /empty /data
VOLUME /data
WORKDIR /data
USER 65532:65532
EXPOSE 5066
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["/ecsbeat", "health"]
ENTRYPOINT ["/ecsbeat"]
CMD ["--environment=container"]
