#!/usr/bin/env bash
# Checks licences, banned crates, sources and known vulnerabilities of every dependency, by the rules of deny.toml.
# cargo-deny takes a few minutes to compile, so it is installed here in CI only; elsewhere its absence is said loudly.
# The advisories live in a git repository that not every network reaches: that too is said loudly, and is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${MILLSTREAM_TOOLS:-$HOME/.cache/millstream/tools}
PATH=$tools/bin:$PATH

if ! command -v cargo-deny >/dev/null 2>&1; then
    if [[ ${CI:-} != true ]]; then
        echo "=== NOT CHECKED: licences and advisories of the dependencies (no cargo-deny)" >&2
        echo "=== to check them, run:  cargo install --locked cargo-deny" >&2
        exit 0
    fi
    # Not into the workspace's target folder, which would keep its objects for ever.
    env -u CARGO_TARGET_DIR cargo install --locked --root "$tools" cargo-deny
fi

cargo deny --locked check licenses bans sources

within_two_minutes() { if command -v timeout >/dev/null 2>&1; then timeout 120 "$@"; else "$@"; fi; }
if within_two_minutes cargo deny fetch db; then
    cargo deny --locked check --disable-fetch advisories
else
    echo "=== NOT CHECKED: advisories (the advisory database cannot be fetched from this network)" >&2
fi
