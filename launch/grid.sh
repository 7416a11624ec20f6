#!/usr/bin/env bash
# Trains the cells of a study that is a grid: one file of each folder of axes, on top of its base.toml.
#   launch/grid.sh [--list] [--base NAME] FOLDER [RANKS] [options of `plumb train` ...]
# The axes of configs/studies/kan are placements/ and steps/, those of configs/studies/prores placements/ and schedules/;
# files in baselines/ are cells of their own. --list prints the cells and trains nothing. --base NAME takes NAME.toml in
# the place of base.toml, and the folders that end in -NAME where there are any. A cell's run folder is
# runs/STUDY/AXIS-AXIS (runs/STUDY-NAME/... with --base); a cell that is there is gone on with, so that the grid may be
# stopped and started again.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/environment.sh
usage() { sed -n '3,9s/^# \{0,1\}//p' launch/grid.sh >&2; exit 2; }

list=0
base=base
while [ $# -gt 0 ]; do
  case "$1" in
    --list) list=1; shift ;;
    --base) [ $# -ge 2 ] || usage; base=$2; shift 2 ;;
    -*) usage ;;
    *) break ;;
  esac
done
[ $# -ge 1 ] || usage
study=${1%/}
shift
[ -f "$study/$base.toml" ] || { echo "grid: $study/$base.toml is missing: not a study that is a grid" >&2; exit 2; }
runs=runs/$(basename "$study")
[ "$base" = base ] || runs+=-$base
ranks=1
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
  ranks=$1
  shift
fi

second=schedules
[ -d "$study/$second" ] || second=steps
[ ! -d "$study/$second-$base" ] || second+=-$base
cells=()
for placement in "$study"/placements/*.toml; do
  for other in "$study/$second"/*.toml; do cells+=("$placement $other"); done
done
for baseline in "$study"/baselines/*.toml; do
  [ ! -f "$baseline" ] || cells+=("$baseline")
done

for cell in "${cells[@]}"; do
  read -ra files <<<"$cell"
  name=
  for file in "${files[@]}"; do name+=${name:+-}$(basename "$file" .toml); done
  folder="$runs/$name"
  echo "grid: $study/$base.toml $cell -> $folder"
  [ "$list" = 0 ] || continue
  launch/run.sh "$ranks" "$study/$base.toml" "${files[@]}" --set run.dir="'$folder'" --resume auto "$@"
done
