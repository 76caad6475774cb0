from control_room.runs.meter import Costs
from control_room.stack.runtime import MemberStatus, State


def seen(cpu_s, memory_bytes, started_at_s=1.0):
    return [
        MemberStatus(
            "dispatcher", State.RUNNING, ready=True, started_at_s=started_at_s, cpu_s=cpu_s, memory_bytes=memory_bytes
        )
    ]


def test_a_members_cost_is_what_it_used_between_the_first_look_and_the_last():
    costs = Costs()
    for cpu_s, size in ((10.0, 100), (12.0, 300), (15.0, 200)):
        costs.see(seen(cpu_s, size))
    assert costs.cpu_s() == {"dispatcher": 5.0}
    assert costs.peak_memory_bytes == {"dispatcher": 300}


def test_a_member_started_anew_counts_from_its_new_start():
    costs = Costs()
    costs.see(seen(10.0, 1, started_at_s=1.0))
    costs.see(seen(2.0, 1, started_at_s=50.0))
    assert costs.cpu_s() == {"dispatcher": 2.0}
