import time
from sync_pipelines_tests.faults.test_killed_runs import *
def test_t(shop, children, variables):
    for w in ([],[],["--full"]):
        t=time.time(); print("CODE", children.run("sync","shop/article",*w, environment=variables), time.time()-t)
    for b in (("opened",1),):
        t=time.time(); print("CODE", children.run("sync","shop/article","--full", environment=variables, boundary=b[0]), time.time()-t)
    t=time.time(); states(); print("STATES", time.time()-t)
    t=time.time(); assert_equal(shop); print("EQ", time.time()-t)
