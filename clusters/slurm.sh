#!/bin/bash
# A campaign as a Slurm job, on one node or several. Ray runs for as long as the job does.
#
#   sbatch clusters/slurm.sh my.yaml search.trials=40
#   sbatch --nodes=4 --gpus-per-node=2 --time=12:00:00 clusters/slurm.sh --images ~/birds
#
# The words after the script are those of `pcsearch tune`. Submit it from a folder that all nodes
# share, with pcsearch on the PATH (or PCSEARCH_BIN=FOLDER). The run is runs/slurm-JOBID.
#
# Two minutes before the limit, or when the job is taken away, the campaign ends in order. Then the
# job is requeued, and resumes. The search closes early enough that the campaign fits into
# PCSEARCH_JOBS such jobs (1 unless set); a budget.hours of your own counts instead.
#
#SBATCH --job-name=pcsearch
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=pcsearch-%j.out

set -euo pipefail

export PATH="${PCSEARCH_BIN:+$PCSEARCH_BIN:}$PATH"
runs=${PCSEARCH_RUNS:-$PWD/runs}
run=$runs/slurm-$SLURM_JOB_ID
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_ip=${PCSEARCH_HEAD_IP:-$(hostname --ip-address | cut -d' ' -f1)}
address=$head_ip:$((20000 + SLURM_JOB_ID % 20000))

# Whoever knows the token may use this Ray; other users of the nodes do not.
umask 077
mkdir -p "$runs"
token=$(mktemp "$runs/.slurm-$SLURM_JOB_ID-XXXXXX")
python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token

ray_pids=()
finish() {
    rm -f "$token"
    if ((${#ray_pids[@]})); then kill "${ray_pids[@]}" 2> /dev/null || true; fi
}
trap finish EXIT

start_ray=(ray start --disable-usage-stats --num-cpus="${SLURM_CPUS_PER_TASK:-1}"
    --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --block)
# A short folder of the job's own: Ray's socket paths have a limit, and /tmp/ray is everybody's.
"${start_ray[@]}" --head --node-ip-address="$head_ip" --port="${address##*:}" \
    --include-dashboard=false --temp-dir="/tmp/pcs-$SLURM_JOB_ID" > "$run.ray.log" 2>&1 &
ray_pids+=($!)
if ((${#nodes[@]} > 1)); then
    others=$((${#nodes[@]} - 1))
    srun --nodes=$others --ntasks=$others --exclude="${nodes[0]}" \
        "${start_ray[@]}" --address="$address" >> "$run.ray.log" 2>&1 &
    ray_pids+=($!)
fi
for ((tries = 0; tries < 120; tries++)); do
    ray status --address="$address" > /dev/null 2>&1 && break
    sleep 1
done

if [[ -e $run/journal.jsonl ]]; then
    command=(pcsearch resume "$run" --address "$address" --plain)
else
    command=(pcsearch tune "$@" --address "$address" --runs "$runs" --name "slurm-$SLURM_JOB_ID" --plain)
    if [[ " $* " != *" budget.hours="* && -n ${SLURM_JOB_END_TIME:-} ]]; then
        seconds=$(((SLURM_JOB_END_TIME - $(date +%s)) * ${PCSEARCH_JOBS:-1} - 300))
        command+=("budget.hours=$(awk "BEGIN { printf \"%.3f\", ($seconds > 60 ? $seconds : 60) / 3600 }")")
    fi
fi

"${command[@]}" &
campaign=$!
trap 'kill -TERM $campaign 2> /dev/null || true' TERM
code=0
wait $campaign || code=$?
while kill -0 $campaign 2> /dev/null; do  # a signal ends `wait` before the campaign has ended
    code=0
    wait $campaign || code=$?
done
if ((code == 143)); then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
