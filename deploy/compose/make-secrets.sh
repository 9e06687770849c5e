#!/bin/sh
# Makes each secret that is not there yet: 256 random bits, readable by the one who needs it.  Each
# lies in a volume of its own, which only its readers mount.
set -eu

gateway=10001:10001 # also the engine's
grafana=472:0

make_secret() { # make_secret FILE OWNER
    if [ ! -s "$1" ]; then
        python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$1.new"
        chmod 0400 "$1.new"
        chown "$2" "$1.new"
        mv "$1.new" "$1"
    fi
}

make_secret /secrets/engine/engine.key "$gateway"
make_secret /secrets/grafana/password "$grafana"
# Two users read this one: PostgreSQL's (whose number is the image's own) and the gateway's.
make_secret /secrets/postgres/password "$gateway"
chmod 0444 /secrets/postgres/password
chown "$gateway" /secrets/data /secrets/artifacts
