#!/usr/bin/env bash
# Checks what millstream needs from the system, and installs what is missing with apt-get where that needs no password.
# Where it does need one (or there is no apt-get), it prints the exact line to run and ends with status 1.
#
#   scripts/prerequisites.sh build   what `make demo` needs: Rust, a C++20 compiler, make, libclang
#   scripts/prerequisites.sh test    that, and what `make test` needs: JDK 17+, Maven, Go, Prometheus, valgrind, docker compose
#
# Not checked, because nothing needs it:
#   cmake         librdkafka is built with its configure script (docs/adr/0001)
#   zlib headers  the libz-sys crate uses the system's zlib where its headers are, and compiles its own copy where not
#   curl and OpenSSL headers, python3, pkg-config: not used by the features this project turns on
set -euo pipefail

purpose=${1:-build}
case $purpose in
build | test) ;;
*)
    echo "prerequisites: '$purpose' is not known; use: scripts/prerequisites.sh build|test" >&2
    exit 2
    ;;
esac

tools=${MILLSTREAM_TOOLS:-$HOME/.cache/millstream/tools}
PATH=$tools/bin:$PATH

# --- What is here? -----------------------------------------------------------------------------------------------------

has() { command -v "$1" >/dev/null 2>&1; }

# RocksDB is C++20: this fails without a compiler, without its headers, and with a compiler that is too old.
has_cxx20() {
    printf '#include <concepts>\nint main() { return 0; }\n' |
        ${CXX:-c++} -std=c++20 -fsyntax-only -x c++ - 2>/dev/null
}

# bindgen loads libclang while RocksDB's bindings are built, and libclang reads clang's own stddef.h, which Debian
# keeps in another package: both are looked for.
has_libclang() {
    [[ -n ${LIBCLANG_PATH:-} ]] && return 0
    local folder
    for folder in /Library/Developer/CommandLineTools /Applications/Xcode.app/Contents/Developer/Toolchains/*; do
        [[ -e $folder/usr/lib/libclang.dylib ]] && return 0
    done
    for folder in /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib \
        /opt/homebrew/opt/llvm/lib /usr/local/opt/llvm/lib; do
        if compgen -G "$folder/libclang*.so*" >/dev/null || [[ -e $folder/libclang.dylib ]]; then
            has_clang_headers && return 0
        fi
    done
    return 1
}

has_clang_headers() {
    local folder
    for folder in /usr/lib/llvm-*/lib /usr/lib /usr/lib64 /usr/local/lib \
        /opt/homebrew/opt/llvm/lib /usr/local/opt/llvm/lib; do
        compgen -G "$folder/clang/*/include/stddef.h" >/dev/null && return 0
    done
    return 1
}

# The broker harness compiles Java sources, so a runtime is not enough. "javac 17.0.15" is 17, "javac 1.8.0" is 1.
has_jdk_17() {
    local version
    version=$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
    [[ -n $version ]] && ((version >= 17))
}

# The only platform that benchmarks/instructions.json has figures for.
counts_instructions() { [[ $(uname -sm) == "Linux x86_64" ]]; }

has_compose() { docker compose version >/dev/null 2>&1 || docker-compose version >/dev/null 2>&1; }

missing=()       # sentences for people
apt_packages=()  # for apt-get; "a|b" takes the first that the archive has
brew_packages=() # for Homebrew

require() { # require <apt packages> <Homebrew package> <sentence>
    apt_packages+=("$1")
    brew_packages+=("$2")
    missing+=("$3")
}

look_around() {
    missing=() apt_packages=() brew_packages=()
    has_cxx20 || require build-essential llvm "a C++20 compiler (g++ 11, clang 14 or newer), for RocksDB and librdkafka"
    has make || require make make "make, for librdkafka"
    has_libclang || require libclang-dev llvm "libclang and its headers, for the bindings of RocksDB"
    if [[ $purpose == test ]]; then
        has_jdk_17 || require "openjdk-17-jdk-headless|openjdk-21-jdk-headless|openjdk-25-jdk-headless" openjdk \
            "a JDK, 17 or newer, for the real Kafka of the tests"
        has mvn || require maven maven "Maven, which fetches the real Kafka of the tests"
        [[ -n ${MILLSTREAM_SCHEMA_REGISTRY_URL:-} ]] || has go ||
            require golang-go go "Go, for the schema registry of the tests"
        has prometheus || require prometheus prometheus "Prometheus, for the test that scrapes the demo with it"
        ! counts_instructions || has valgrind ||
            require valgrind valgrind "valgrind, for the test that counts the engine's instructions"
    fi
}

# --- Installing --------------------------------------------------------------------------------------------------------

can_install() { has apt-get && { [[ $(id -u) == 0 ]] || { has sudo && sudo -n true 2>/dev/null; }; }; }

as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi; }

update_apt_lists() { # once: those of a fresh machine are empty, and choosing between alternatives needs them
    [[ -n ${apt_lists_are_fresh:-} ]] || as_root apt-get update -q
    apt_lists_are_fresh=yes
}

apt_has() { [[ $(apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[0-9]* ]]; }

first_available() { # first_available "a|b": the first of them that the archive has, or the first where it has none
    local package
    for package in ${1//|/ }; do
        if apt_has "$package"; then
            echo "$package"
            return
        fi
    done
    echo "${1%%|*}"
}

apt_line() {
    local packages=() package
    for package in "$@"; do packages+=("$(first_available "$package")"); done
    echo "apt-get install -y --no-install-recommends ${packages[*]}"
}

apt_install() {
    local line
    update_apt_lists
    line=$(apt_line "$@")
    # shellcheck disable=SC2086 # a line of package names, split on purpose
    as_root env DEBIAN_FRONTEND=noninteractive $line
}

# take_from_package <package> <programs in it>: without installing the package, which would start a server
take_from_package() {
    local package=$1 folder
    shift
    folder=$(mktemp -d)
    if (cd "$folder" && apt-get download -q "$package" && dpkg-deb -x "$package"_*.deb .); then
        mkdir -p "$tools/bin"
        cp "${@/#/$folder/}" "$tools/bin/"
    fi
    rm -rf "$folder"
}

install_prometheus() { take_from_package prometheus usr/bin/prometheus usr/bin/promtool; }

install_compose() {
    if apt_has docker-compose-v2; then # Ubuntu; its package depends on the container engine
        take_from_package docker-compose-v2 usr/libexec/docker/cli-plugins/docker-compose
    elif can_install; then # Debian
        apt_install docker-compose
    fi
}

# --- The work ----------------------------------------------------------------------------------------------------------

# Before the look around: taken out of its package, Prometheus needs no password and starts no server.
if [[ $purpose == test ]] && has apt-get && ! { has prometheus && has promtool; }; then
    ! can_install || update_apt_lists || true
    install_prometheus || true
fi
look_around
if ((${#missing[@]})) && can_install; then
    echo "prerequisites: installing with apt-get:"
    printf '  - %s\n' "${missing[@]}"
    apt_install "${apt_packages[@]}"
    look_around
fi
if ((${#missing[@]})); then
    {
        echo "prerequisites: missing on this machine:"
        printf '  - %s\n' "${missing[@]}"
        if has apt-get; then
            echo "run:  sudo apt-get update && sudo $(apt_line "${apt_packages[@]}")"
        elif [[ $(uname) == Darwin ]]; then
            echo "run:  xcode-select --install; brew install ${brew_packages[*]}"
        else
            echo "install them with the package manager of this system and run this again"
        fi
    } >&2
    exit 1
fi
if ! has cargo; then
    echo "prerequisites: cargo is missing: install rustup from https://rustup.rs" >&2
    echo "(it then fetches the version of Rust that rust-toolchain.toml names)" >&2
    exit 1
fi

# It only checks docker-compose.yml. Where it cannot be had, scripts/check-deploy.sh says so loudly (and fails in CI), so
# it stops nobody here.
if [[ $purpose == test ]] && has apt-get && ! has_compose; then
    ! can_install || update_apt_lists || true
    install_compose || true
fi
echo "prerequisites: everything for '$purpose' is here"
