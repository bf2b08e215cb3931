#!/bin/sh
# weighbridge-initialize SOURCE DIR [SOURCE DIR]...: fills DIR with a model, and exits with 0 only when its approval
# holds. It is what KServe calls a storage initializer, and an init container anywhere: the server is not started else.
#
#   approved+REFERENCE   an approved folder, approval.json and all, that lies in a registry or an object store
#   gate+REFERENCE       a model that crosses the gate here; its approval is signed with the key that is mounted
#   PATH                 an approved folder on a volume
#
# WEIGHBRIDGE_TRUST  the trust policy: who may approve, and who has to have signed what crosses the gate
# GATE_KEY, GATE_VERIFIER, GATE_POLICY  for the gate: who signs, in whose name, by which policy
#
# What is verified is what lies in DIR in the end, never the source, which others may be able to write.
set -eu
if [ $# -lt 2 ] || [ $(($# % 2)) -ne 0 ]; then
    echo "usage: weighbridge-initialize SOURCE DIR [SOURCE DIR]..." >&2
    exit 2
fi
if [ -z "${WEIGHBRIDGE_TRUST:-}" ]; then
    echo "weighbridge-initialize: WEIGHBRIDGE_TRUST names the trust policy; without one nobody is trusted to approve" >&2
    exit 2
fi

# What an earlier start of the pod left in DIR is ours when there is an approval or a half-made folder.
empty() {
    if [ -e "$1/approval.json" ] || [ -e "$1/.weighbridge-new" ]; then
        find "$1" -mindepth 1 -type d -exec chmod u+w {} +
        find "$1" -mindepth 1 -delete
    elif [ -n "$(ls -A "$1")" ]; then
        echo "weighbridge-initialize: $1: holds something else already" >&2
        exit 2
    fi
}

# A mounted secret belongs to root and is there for a group, and a key that others may read is not used: so a copy is.
key=
own_key() {
    if [ -z "${GATE_KEY:-}" ]; then
        echo "weighbridge-initialize: GATE_KEY names the key that signs what crosses the gate" >&2
        exit 2
    fi
    if [ -z "$key" ]; then
        key=$(umask 077 && mktemp)
        trap 'rm -f "$key"' EXIT
        cat "$GATE_KEY" > "$key"
    fi
}

# The gate and pull make a folder of their own, and DIR is a mount, which is there already.
fill() {
    mkdir -p "$2"
    empty "$2"
    new=$2/.weighbridge-new
    case $1 in
        gate+*)
            own_key
            weighbridge gate --to "$new" --trust "$WEIGHBRIDGE_TRUST" --policy "${GATE_POLICY:-default}" --quiet \
                --key "$key" ${GATE_VERIFIER:+--verifier "$GATE_VERIFIER"} -- "${1#gate+}"
            ;;
        approved+*)
            weighbridge pull --to "$new" --trust "$WEIGHBRIDGE_TRUST" --policy "${GATE_POLICY:-default}" --quiet --copy \
                --exclude weighbridge.lock --exclude report.json --exclude report.html -- "${1#approved+}"
            ;;
        *://*)
            echo "weighbridge-initialize: $1: say gate+$1, or approved+$1 if it holds an approval" >&2
            exit 2
            ;;
        *)
            cp -R "$1" "$new"
            ;;
    esac
    find "$new" -type d -exec chmod u+w {} +
    find "$new" -mindepth 1 -maxdepth 1 -exec mv {} "$2/" ';'
    rmdir "$new"
}

while [ $# -gt 0 ]; do
    fill "$1" "$2"
    find "$2" -mindepth 1 -exec chmod a-w {} +
    weighbridge approve --check --trust "$WEIGHBRIDGE_TRUST" -- "$2"
    shift 2
done
