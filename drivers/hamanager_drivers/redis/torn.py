"""A log whose end a loss of power has torn.

A filesystem may have noted that a file grew before what it grew by was written: the file then ends
in zeros, as many as were not synced. A server takes a log that ends too early, and refuses one with
zeros at its end: it would never start again. Nothing that was synced ends in a zero byte.
"""

from __future__ import annotations

from hamanager.contracts.driver import DATA_DIRECTORY

LOGS = f"{DATA_DIRECTORY}/appendonlydir/*.incr.aof"
# With tools that every image has; how many zeros there are is found by halving.
CUT_ZEROS = rf"""
zeros() {{ [ "$(tail -c "$1" "$file" | tr -d '\0' | wc -c)" -eq 0 ]; }}
for file in {LOGS}; do
  [ -s "$file" ] && zeros 1 || continue
  size=$(wc -c <"$file")
  some=1
  more=2
  while [ $more -le $size ] && zeros $more; do
    some=$more
    more=$((more * 2))
  done
  [ $more -le $size ] || more=$((size + 1))
  while [ $((more - some)) -gt 1 ]; do
    half=$(((some + more) / 2))
    if zeros $half; then some=$half; else more=$half; fi
  done
  echo "$file ended in $some zeros, which were never written: they are cut off"
  truncate -s $((size - some)) "$file"
done
"""
