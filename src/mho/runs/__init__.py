"""Many evaluations of one kind: who does them, and where what they found is kept.

It knows nothing of the field. `pool` runs tasks in processes, threads, or any executor of
``concurrent.futures``; `storage` opens files and databases of Optuna; `ledger` says what is to be
done next and keeps what was found.
"""
