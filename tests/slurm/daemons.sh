# What start, stop and restart share; sourced after `folder` is set.
say() { echo "slurm: $*"; }
fail() { echo "slurm: $*" >&2; exit 1; }
pid_of() { cat "$folder/run/$1.pid" 2>/dev/null || true; }
running() { # pid; one that has ended but was not waited for does not count
  [ -n "$1" ] && [ -e "/proc/$1" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

launch() { # name, command...: a daemon that goes to the background by itself; fd 9 may be a lock of ours
  local name=$1
  shift
  "$@" </dev/null >"$folder/log/$name.out" 2>&1 9>&- || { cat "$folder/log/$name.out" >&2; fail "$name did not start"; }
}

await() { # seconds, name, command...: wait until the command succeeds; else show the log and what the command said
  local tries=$(($1 * 10)) name=$2
  shift 2
  until "$@" >"$folder/log/probe.out" 2>&1; do
    [ $((tries--)) -gt 0 ] || {
      tail -n 15 "$folder/log/$name".* "$folder/log/probe.out" >&2
      fail "$name did not come up (\`$*\` fails); the logs are in $folder/log"
    }
    sleep 0.1
  done
}

end() { # name, seconds: ask a daemon to go, then make it
  local pid tries=$(($2 * 10))
  pid=$(pid_of "$1")
  running "$pid" || return 0
  kill "$pid"
  while running "$pid"; do
    [ $((tries--)) -gt 0 ] || { kill -9 "$pid"; break; }
    sleep 0.1
  done
}

munge_answers() { munge -n -S "$folder/run/munge.socket"; }
database_answers() { mariadb --no-defaults --socket="$folder/run/mysqld.sock" -e 'select 1'; }
accounting_answers() { timeout 60 sacctmgr -n list cluster; }
controller_answers() { timeout 60 scontrol ping | grep -q 'is UP'; }
node_answers() { [[ $(timeout 60 sinfo -h -p main -o %T) =~ ^(idle|mixed|allocated|completing)$ ]]; }

start_munged() {
  launch munged munged --socket="$folder/run/munge.socket" --key-file="$folder/etc/munge.key" --num-threads=10 \
    --pid-file="$folder/run/munged.pid" --log-file="$folder/log/munged.log" --seed-file="$folder/run/munged.seed"
  await 600 munged munge_answers
}
start_mariadbd() {
  setsid mariadbd --no-defaults --user=root --datadir="$folder/db" --socket="$folder/run/mysqld.sock" \
    --pid-file="$folder/run/mariadbd.pid" --skip-networking --innodb-buffer-pool-size=128M \
    --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 </dev/null >>"$folder/log/mariadbd.log" 2>&1 9>&- &
  await 600 mariadbd database_answers
}
start_slurmdbd() {
  launch slurmdbd env MYSQL_UNIX_PORT="$folder/run/mysqld.sock" slurmdbd
  await 600 slurmdbd accounting_answers
}
start_slurmctld() {
  launch slurmctld slurmctld -f "$folder/etc/slurm.conf"
  await 600 slurmctld controller_answers
}
start_slurmd() {
  launch slurmd slurmd -N localhost -f "$folder/etc/slurm.conf"
  await 600 slurmd node_answers
}
