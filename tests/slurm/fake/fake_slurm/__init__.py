"""A Slurm of one node for tests: its commands on PATH, its state in plain files of the folder $FAKE_SLURM.

    FAKE_SLURM            the folder; it may be empty or not there
    FAKE_SLURM_CPUS       how many CPUs the node has (the machine's)
    FAKE_SLURM_GPUS       how many GPUs the node says it has (2)
    FAKE_SLURM_MAX_ARRAY  MaxArraySize (1001)
    FAKE_SLURM_LIMIT      the time limit that the partitions say they have (infinite)
    FAKE_SLURM_HOLD       1: jobs are accepted and stay pending
    FAKE_SLURM_KILL_WAIT  how many seconds a job has between SIGTERM and SIGKILL (30)
    FAKE_SLURM_MINUTE     how many seconds a minute of a time limit lasts (60)
    FAKE_SLURM_WARM       the socket of `tests.slurm.warm_jobs`, which forks the Python processes of srun (none)

There is no daemon. Every command that changes something starts what may start; every running job is looked after by a
process of its own (`step`), which does the same when it ends. A file `down` in the folder makes the commands fail as
they do when slurmctld is away. Not there: preemption, several nodes, memory, accounts, and `sacct`'s lag.
"""
