"""The side-by-side harness: our data plane against its limits and its peers, in one run, as ratios.

    points.py     what is claimed: P1 .. P14, each with what must hold and the two spots it compares
    systems.py    who is measured: one line a server        peers/  their servers, a file each
    dialects.py   what each is asked, and where its answer's numbers are (traffic.py: the record)
    models.py     the models, packages, rows and right answers that all share
    environments.py  one environment a peer, from its locked requirements
    server.py     a process tree: start, CPU, memory    client.py  asks it    load.py  wrk and h2load
    witness.py    holds answers against the right ones while the load runs
    running.py    one system in one stage    limits/  lines nobody can cross: no model, no server, the sandbox's hop;
                  limits/turns.py compares source trees by what a turn costs without a socket
    capture.py    is every answered row logged, at 5,000 rows a second
    run.py        the rounds; appends JSON lines to results/
    ratios.py     medians of ratios, verdicts    table.py, plot.py, report.py  docs/performance.md and its picture
    conformance.py  how four servers answer the conformance kit: reports/*.json, docs/conformance.md
    profile.py    where each microsecond of the request path goes

`make bench` runs the reference set, `make bench-all` every peer.
"""
