"""The conformance kit: does a server, whoever made it, keep the Open Inference Protocol V2?

Comes in: a URL and, where there is one, a gRPC address. Goes out: a report, case by case, with the request that shows
each deviation. It imports nothing of what serves here: it judges Penstock as it judges anybody.

    cases/*.json + metadata of the served model -> requests -> answers -> judged -> report
"""
