#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Slurm: "sbatch docs/ci/slurm.sh" in a checkout that all nodes see, after "make .venv/.stamp-run" on one of them. The
# job is the cluster: a worker of Dask's for each task, and the run that they work for, which ends all. Words after the
# script's name replace those of "dmasafe matrix run": after the time limit, "sbatch docs/ci/slurm.sh --run slurm-JOB".
#
#SBATCH --job-name=dmasafe
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=5
#SBATCH --mem-per-cpu=2G
#SBATCH --time=08:00:00
set -eu

[ $# -gt 0 ] || set -- nightly --run "slurm-$SLURM_JOB_ID" --store "$PWD/store"
# Kernels are built on the disk of each node; what boots of them goes to the store.
export DMASAFE_CACHE="${TMPDIR:-/tmp}/dmasafe-$(id -un)"
host=$(hostname) port=$((20000 + SLURM_JOB_ID % 10000))

.venv/bin/dask scheduler --host "$host" --port "$port" --no-dashboard &
scheduler=$!
srun .venv/bin/dask worker "tcp://$host:$port" --nthreads 5 --resources 'build=1 boot=4' --memory-limit 0 --no-dashboard \
	--local-directory "${TMPDIR:-/tmp}" &
workers=$!
trap 'kill $scheduler $workers; wait' EXIT
.venv/bin/dmasafe matrix run "$@" --scheduler "tcp://$host:$port"
