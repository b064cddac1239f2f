"""The side-by-side harness: our data plane against its limits and its peers, in one run, as ratios.

    points.py     what is claimed: P1 .. P14, each with what must hold and the two spots it compares
    systems.py    who is measured: one line a server        peers/  their servers, one file each
    dialects.py   what each is asked, and where its answer's numbers are (traffic.py: the record)
    models.py     the models, packages, rows and right answers that all share
    environments.py  one environment a peer, from its locked requirements
    server.py     one running server: start, CPU, memory    load.py  wrk and h2load    witness.py  checks under load
    run.py        the rounds; appends JSON lines to results/
    report.py     medians of ratios, the table, docs/performance.md; plot.py draws it
    profile.py    where each microsecond of the request path goes

`make bench` runs the reference set, `make bench-all` every peer.
"""
