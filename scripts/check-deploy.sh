#!/usr/bin/env bash
# Checks the files that run millstream beside Kafka, Prometheus and Grafana, with the tools that will read them, but
# without a container engine: docker-compose.yml, Prometheus' configuration, its alert rules and their unit tests.
# A missing tool is skipped loudly on a developer's machine and is a failure in CI (CI=true).
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=${MILLSTREAM_TOOLS:-$HOME/.cache/millstream/tools}/bin:$PATH

not_checked() { # not_checked <what> <how to get the tool>
    echo "=== NOT CHECKED: $1" >&2
    echo "=== to check it, run:  $2" >&2
    if [[ ${CI:-} == true ]]; then exit 1; fi
}

if docker compose version >/dev/null 2>&1; then
    docker compose config --quiet
elif docker-compose version >/dev/null 2>&1; then
    docker-compose config --quiet
else
    not_checked "docker-compose.yml (no docker compose)" \
        "sudo apt-get install -y --no-install-recommends docker-compose  (macOS: brew install docker-compose)"
fi

if command -v promtool >/dev/null 2>&1; then
    promtool check config deploy/prometheus/prometheus.yml
    promtool check rules deploy/prometheus/rules.yml
    promtool test rules deploy/prometheus/rules-test.yml
else
    not_checked "deploy/prometheus (no promtool)" \
        "sudo apt-get install -y prometheus  (macOS: brew install prometheus)"
fi
