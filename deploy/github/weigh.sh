#!/usr/bin/env bash
# Runs the gate, or a scan, and notes what came of it; `decide.sh` fails the job, after the reports are uploaded.
set -euo pipefail
weighbridge=$RUNNER_TEMP/weighbridge-venv/bin/weighbridge
folder=$(mktemp -d "$RUNNER_TEMP/weighbridge-XXXXXXXX")
said=$folder/stderr.txt

# Fills the array `lines` with the lines of a text that hold something.
split() {
    lines=()
    local line
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line%$'\r'}
        [[ -z $line ]] || lines+=("$line")
    done <<< "$1"
}

usage() {
    echo "weighbridge: error: $1" >&2
    echo "exit-code=2" >> "$GITHUB_OUTPUT"
    echo "verdict=error" >> "$GITHUB_OUTPUT"
    exit 0
}

options=(--format github)
for report in json:report.json html:report.html sarif:report.sarif markdown:summary.md; do
    options+=(--format "${report%%:*}" --output "$folder/${report#*:}")
done
[[ -z $GATE_POLICY ]] || options+=(--policy "$GATE_POLICY")
[[ -z $GATE_SEVERITY ]] || options+=(--fail-at "$GATE_SEVERITY")
split "$GATE_ARGUMENTS"
options+=("${lines[@]}")
split "$GATE_PATHS"
if [[ -n $GATE_REFERENCE ]]; then
    [[ -n $GATE_TO ]] || usage "\`reference\` goes with \`to\`: where does the approved model go?"
    [[ ${#lines[@]} -eq 0 ]] || usage "\`reference\` and \`paths\`: the gate, or a scan"
    [[ -z $GATE_TRUST ]] || options+=(--trust "$GATE_TRUST")
    command=(gate --to "$GATE_TO" "${options[@]}" -- "$GATE_REFERENCE")
else
    [[ ${#lines[@]} -gt 0 ]] || usage "name a \`reference\`, or \`paths\`"
    [[ -z $GATE_TO$GATE_TRUST ]] || usage "\`to\` and \`trust\` go with \`reference\`"
    command=(scan "${options[@]}" -- "${lines[@]}")
fi

status=0
"$weighbridge" "${command[@]}" 2> "$said" || status=$?
cat "$said" >&2

# The verdict is that of the report: after --exit-zero or --triage the status does not tell it.
verdict=
case $status in
    0 | 1 | 3) verdict=$(sed -n 's/^  "outcome": "\([a-z]*\)",*$/\1/p' "$folder/report.json" || true) ;;
esac
verdict=${verdict:-error}
{
    echo "exit-code=$status"
    echo "verdict=$verdict"
    for report in report:report.json html:report.html sarif:report.sarif; do
        [[ ! -s $folder/${report#*:} ]] || echo "${report%%:*}=$folder/${report#*:}"
    done
} >> "$GITHUB_OUTPUT"
if [[ -s $folder/summary.md ]]; then
    cat "$folder/summary.md" >> "$GITHUB_STEP_SUMMARY"
else
    # Without a report there is what the command said, as a block of code, which nothing in it can end.
    { echo "Weighbridge: $verdict (exit status $status)"; echo; sed 's/^/    /' "$said"; } >> "$GITHUB_STEP_SUMMARY"
fi
