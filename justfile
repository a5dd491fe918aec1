# The only entry point for people and CI. Each recipe is one line over `cargo xtask`, so that everything
# works without just, too: `cargo xtask --help`.

# List the recipes.
default:
    @just --list

# Install what the lab needs and build it (once; cached outside the work tree).
setup:
    cargo xtask setup

# A real cluster, a good release, a bad one, with live traffic.
demo *ARGS:
    cargo xtask demo {{ARGS}}

# Everything that CI runs.
test *ARGS:
    cargo xtask test {{ARGS}}

# Format, clippy, the house's own rules.
lint:
    cargo xtask lint

# Unit and property tests: no cluster, no network.
unit:
    cargo xtask unit

# The tests on a real cluster; a filter may follow. With --long: minutes where CI watches for one.
e2e *ARGS:
    cargo xtask e2e {{ARGS}}

# The driver in a virtual cluster that breaks on purpose: --seeds N --first S --trace.
sim *ARGS:
    cargo xtask sim {{ARGS}}

# CRDs, RBAC, reference pages. With --check: fail on a difference.
generate *ARGS:
    cargo xtask generate {{ARGS}}

# The lab: up, down, status, kubectl, logs, load-image.
lab *ARGS:
    cargo xtask lab {{ARGS}}

# Build the images (docker-archive files) that users get.
image:
    cargo xtask image
