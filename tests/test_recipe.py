"""The search is pure: within its budget, never twice, the same again; it finds the ridge of a made-up surface."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superconv.analysis.recipe.balance import finalists, stepped_down
from superconv.analysis.recipe.companion import MOMENTA
from superconv.analysis.recipe.conclusion import conclude, edges
from superconv.analysis.recipe.course import FIRST_SEED, ORDER, lay_out
from superconv.analysis.recipe.knowledge import MIN_STEPS, Candidate, Knowledge, Outcome, Plan, Probe
from superconv.analysis.recipe.ramps import RAMP_STEPS, RampSize, budget_for_verdict, ramp_size, smallest_budget
from superconv.analysis.recipe.search import STRATEGIES, next_probe, next_probes

DECAYS = (1e-5, 1e-4, 1e-3, 1e-2)


def make_plan(budget: int = 3000, **changes: object) -> Plan:
    options = {
        "steps": 4000, "base": Candidate(0.1), "weight_decays": DECAYS, "momenta": ((0.95, 0.85), (0.9, 0.9)),
        "batch_sizes": (64, 256),
    }  # fmt: skip
    return Plan(budget, **{**options, **changes})


def surface(probe: Probe, best_lr: float = 1.5, product: float = 1e-3) -> float:
    """A ridge: the best weight decay at any learning rate is product / lr; longer is better."""
    c = probe.candidate
    off_ridge = math.log10(c.max_lr * max(c.weight_decay or 0.0, 1e-7) / product)
    return 0.9 - 0.03 * off_ridge**2 - 0.02 * math.log10(c.max_lr / best_lr) ** 2 - 1 / probe.steps


def answer(probe: Probe, lr: float = 0.5) -> Outcome:
    if probe.kind == "range test":
        return Outcome(None, probe.cost, lr=lr)
    return Outcome(surface(probe), probe.cost)


def run(plan: Plan, answers=answer) -> dict[Probe, Outcome]:
    knowledge: dict[Probe, Outcome] = {}
    while (probe := next_probe(knowledge, plan)) is not None:
        assert probe not in knowledge
        knowledge[probe] = answers(probe)
        assert len(knowledge) < 200
    return knowledge


plans = st.builds(
    make_plan,
    budget=st.integers(0, 30_000),
    steps=st.integers(2, 20_000),
    strategy=st.sampled_from(sorted(STRATEGIES)),
    fresh_seeds=st.integers(1, 4),
    spent=st.integers(0, 200),
    batch_sizes=st.sets(st.integers(8, 1024), max_size=3).map(tuple),
    weight_decays=st.sampled_from([(), (1e-4,), DECAYS, (0.0, 1e-3)]),
    base=st.builds(
        Candidate, st.floats(1e-4, 10), st.sampled_from([None, 1e-4]), st.sampled_from([None, (0.95, 0.85)]),
        st.sampled_from([32, 128]), st.sampled_from([None, 0.1]),
    ),
    dropouts=st.sampled_from([(), (0.0, 0.1, 0.2)]),
    higher_is_better=st.booleans(),
    eval_samples=st.sampled_from([None, 500]),
)  # fmt: skip


@settings(max_examples=150)
@given(plan=plans, random=st.randoms(use_true_random=False))
def test_it_ends_within_its_budget_and_asks_nothing_twice(plan: Plan, random) -> None:
    def answers(probe: Probe) -> Outcome:
        if probe.kind == "range test":
            return Outcome(None, random.randint(0, probe.cost), lr=random.choice([None, 0.03, 2.0]))
        diverged = random.random() < 0.2
        score = None if diverged and random.random() < 0.5 else random.random()
        return Outcome(score, random.randint(0, probe.cost), diverged)

    knowledge: dict[Probe, Outcome] = {}
    spent = plan.spent
    while batch := next_probes(knowledge, plan):
        assert spent + sum(probe.cost for probe in batch) <= plan.budget  # even if all of them cost the most
        assert len(set(batch)) == len(batch)
        assert not set(batch) & set(knowledge)
        knowledge |= {probe: answers(probe) for probe in batch}
        spent = plan.spent + sum(outcome.updates for outcome in knowledge.values())
        assert next_probes(dict(knowledge), plan) == next_probes(knowledge, plan)
    found = conclude(knowledge, plan)
    assert found.updates == spent
    own = [probe for probe in knowledge if probe.kind == "training" and probe.candidate == found.candidate]
    fresh = [probe for probe in own if probe.seed > FIRST_SEED]
    assert not any(knowledge[probe].diverged for probe in [*own[-1:], *fresh])
    assert bool(knowledge) == (plan.budget >= smallest_budget(plan))


@settings(max_examples=30)
@given(plan=plans)
def test_order_in_a_batch_and_what_else_is_known_do_not_matter(plan: Plan) -> None:
    one_by_one = run(plan)
    together: dict[Probe, Outcome] = {replace(p, seed=99): Outcome(1.0, 1) for p in one_by_one}  # never asked for
    while batch := next_probes(together, plan):
        together |= {probe: answer(probe) for probe in reversed(batch)}
    assert {p: o for p, o in together.items() if p.seed != 99} == one_by_one


def test_the_ridge_is_found() -> None:
    for start in (0.15, 0.5, 5.0):
        plan = make_plan(6000)
        knowledge = run(plan, lambda probe, start=start: answer(probe, start))
        found = conclude(knowledge, plan)
        best_decay = 1e-3 / found.candidate.max_lr
        assert abs(math.log10(found.candidate.weight_decay / best_decay)) <= 0.3  # within a factor of two
        assert abs(math.log10(found.candidate.max_lr / 1.5)) < abs(math.log10(start / 1.5)) or start == 0.5
        assert found.confirmed == 2


def test_the_learning_rate_moves_with_its_product_with_weight_decay_held() -> None:
    for probe in run(make_plan(6000)):
        if probe.factor == "learning rate":
            assert probe.candidate.max_lr * probe.candidate.weight_decay == pytest.approx(5e-4, rel=0.1)
    moved = Candidate(0.5, 1e-3).along_ridge(10**0.5)
    assert (moved.max_lr, moved.weight_decay) == (1.6, 0.00032)
    assert Candidate(0.5, None).along_ridge(2.0).weight_decay is None


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@pytest.mark.parametrize("fragile", [False, True])
def test_one_weight_decay_is_held_throughout(strategy: str, fragile: bool) -> None:
    plan = make_plan(6000, strategy=strategy, base=Candidate(0.1, 5e-4), weight_decays=(5e-4,))
    knowledge = run(plan, unbalanced("accuracy", lambda probe: True) if fragile else answer)
    found = conclude(knowledge, plan)
    trained = [probe for probe in knowledge if probe.kind == "training"]
    assert {probe.candidate.weight_decay for probe in trained} == {5e-4}
    assert found.candidate.weight_decay == 5e-4
    assert "weight decay" in found.untried
    assert not {"weight decay", "balance"} & {probe.factor for probe in trained}
    if strategy == "balance":
        rates = {probe.candidate.max_lr for probe in trained if probe.factor == "learning rate"}
        assert {0.16, 0.5, 1.6} <= rates  # which moves alone
        assert all("weight decay held" in probe.why for probe in trained if probe.factor == "learning rate")


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_one_momentum_is_held_throughout(strategy: str) -> None:
    plan = make_plan(6000, strategy=strategy, base=Candidate(0.1, 1e-4, (0.9, 0.9)), momenta=((0.9, 0.9),))
    knowledge = run(plan)
    assert {probe.candidate.momentum for probe in knowledge if probe.kind == "training"} == {(0.9, 0.9)}
    assert "momentum" in conclude(knowledge, plan).untried


def test_every_value_is_tried_short_and_the_better_half_long() -> None:
    knowledge = run(make_plan(1000))
    trials = [probe for probe in knowledge if probe.factor == "weight decay"]
    short = min(probe.steps for probe in trials)
    assert {p.candidate.weight_decay for p in trials if p.steps == short} == set(DECAYS)
    long = {p.candidate.weight_decay for p in trials if p.steps == 2 * short}
    assert long == {1e-3, 1e-2}  # nearest to 1e-3 / .5
    fresh = [probe for probe in knowledge if probe.factor == "confirmation"]
    assert {p.seed for p in fresh} == {FIRST_SEED + 1, FIRST_SEED + 2}
    assert {p.steps for p in fresh} == {2 * short}


def test_more_budget_buys_more_factors_then_longer_trainings() -> None:
    courses = [lay_out(make_plan(), left) for left in (100, 250, 800, 2000, 4000, 10_000)]
    assert courses[0] is None
    assert courses[1] is not None
    assert courses[1].factors == ("weight decay",)
    counts = [len(course.factors) for course in courses if course is not None]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    lengths = [course.short for course in courses if course is not None]
    assert lengths[-1] > lengths[1]
    assert lay_out(make_plan(steps=100), 10**6).long == 100  # never longer than what is planned


def test_lengths_are_what_is_left_over_what_the_trainings_of_a_course_cost() -> None:
    plan = make_plan(momenta=(), batch_sizes=())
    # four decays short and three long; two new neighbours short and one long, twice; two finalists, long, on two seeds
    units = (4 + 3 * 2) + 2 * (2 + 1 * 2) + 2 * 2 * 2
    for left, short in ((70 * units, 70), (70 * units - 1, 69)):
        course = lay_out(plan, left)
        assert (course.factors, course.short) == (("weight decay", "learning rate", "balance"), short)
        assert (course.long, course.reserve) == (2 * short, 8 * short)
    one_seed = (4 + 3 * 2) + 2 * 1 * 2
    scarce = lay_out(plan, one_seed * MIN_STEPS)
    assert (scarce.factors, scarce.fresh_seeds, scarce.short) == (("weight decay",), 1, MIN_STEPS)
    assert lay_out(plan, (4 + 3 * 2) * MIN_STEPS).fresh_seeds == 0
    assert lay_out(plan, (4 + 3 * 2) * MIN_STEPS - 1) is None
    assert lay_out(make_plan(steps=101), 10**6).short == 50
    small = lay_out(make_plan(batch_sizes=(32, 512)), 10**6)
    assert small.reserve == 2 * 2 * small.long * 128 / 32  # as many updates as its smallest batch takes


def test_a_course_has_the_factors_that_there_are() -> None:
    plenty = 10**6
    assert lay_out(make_plan(), plenty).factors == ORDER[:-1]
    assert lay_out(make_plan(base=Candidate(0.1, dropout=0.1), dropouts=(0.1, 0.2)), plenty).factors == ORDER
    bare = make_plan(base=Candidate(0.1, None, None), dropouts=(0.1, 0.2))
    assert lay_out(bare, plenty).factors == ("learning rate", "batch size")


def test_batch_sizes_are_compared_at_equal_samples_and_cost_what_they_take() -> None:
    plan = make_plan()
    small, large = (plan.training(plan.base.with_batch_size(size), 100, 0, "", "") for size in (64, 256))
    assert (small.steps, small.cost, small.candidate.max_lr) == (200, 200, 0.05)
    assert (large.steps, large.cost, large.candidate.max_lr) == (50, 100, 0.2)


def test_range_tests_fit_the_budget() -> None:
    plan = make_plan()
    assert ramp_size(replace(plan, budget=smallest_budget(plan) - 1)) is None
    assert ramp_size(replace(plan, budget=smallest_budget(plan))).steps == RAMP_STEPS[0]
    assert not ramp_size(replace(plan, budget=budget_for_verdict(plan) - 10)).grid
    assert ramp_size(replace(plan, budget=budget_for_verdict(plan))).grid
    assert ramp_size(replace(plan, budget=10**6)).steps == RAMP_STEPS[1]
    assert {probe.factor for probe in run(replace(plan, budget=420))} == {"range test", "weight decay"}
    ramps = [probe for probe in run(replace(plan, budget=20_000)) if probe.kind == "range test"]
    assert [probe.seed for probe in ramps] == [2000, 2001]  # no comparison begins with them


def test_a_range_test_costs_its_scout_its_ramp_its_branches_and_its_grid() -> None:
    plan = make_plan()
    assert RampSize(30, 10, True).cost(plan) == 60 + 30 + 10 * 9 + 8 * 30
    assert RampSize(20, 6, False).cost(plan) == 60 + 20 + 6 * 6
    assert smallest_budget(replace(plan, spent=7)) == 7 + 116


@pytest.mark.parametrize("spent", [0, 500])
def test_a_second_range_test_is_made_where_two_take_at_most_their_share(spent: int) -> None:
    counts = set()
    for budget in range(200, 12_000, 300):
        plan = make_plan(budget + spent, spent=spent)
        asked, cost = next_probes({}, plan), ramp_size(plan).cost(plan)
        assert len(asked) == (2 if 2 * cost <= 0.4 * budget else 1)
        assert all((probe.kind, probe.cost) == ("range test", cost) for probe in asked)
        counts.add(len(asked))
    assert counts == {1, 2}


def test_without_a_suggestion_the_base_rate_is_the_centre() -> None:
    def silent(probe: Probe) -> Outcome:
        return replace(answer(probe), lr=None)

    knowledge = run(make_plan(800), silent)
    assert {p.candidate.max_lr for p in knowledge if p.kind == "training"} == {0.1}


@pytest.mark.parametrize(("share", "checks"), [(1.0, 1), (0.1, 2)])  # early divergence leaves updates for a check
def test_finalists_that_diverge_step_down(share: float, checks: int) -> None:
    plan = make_plan(1000)

    def fragile(probe: Probe) -> Outcome:
        if probe.factor == "confirmation" and probe.candidate.max_lr > 0.9:
            return Outcome(0.1, round(share * probe.cost), diverged=True)
        return answer(probe, lr=1.5)

    knowledge = run(plan, fragile)
    found = conclude(knowledge, plan)
    best = finalists(knowledge, plan)
    assert len(best) == 2
    assert all(candidate.max_lr > 0.9 for candidate in best)
    assert found.candidate == best[0].along_ridge(0.5)
    assert found.confirmed == checks
    assert "stepped down from the smallest of theirs, on fresh seeds" in found.reason
    unchecked = {p: o for p, o in knowledge.items() if p.candidate != found.candidate}
    assert conclude(unchecked, plan).candidate == found.candidate
    assert conclude(unchecked, plan).confirmed == 0
    assert "untested" in conclude(unchecked, plan).reason


CHANCE = 0.9  # of data with nine samples in ten of one class: more than short trainings reach


def unbalanced(scale: str, breaks, honest: float = 0.87):
    """Outcomes on such data where what `breaks` says diverges, in three kinds of metric."""
    broken, sound = {"accuracy": (CHANCE, honest), "no chance": (None, honest), "loss": (None, 1.0 - honest)}[scale]

    def answers(probe: Probe) -> Outcome:
        if probe.kind == "range test":
            return Outcome(None, probe.cost, lr=0.5)
        return Outcome(broken, probe.cost, diverged=True) if breaks(probe) else Outcome(sound, probe.cost)

    return answers


@pytest.mark.parametrize("scale", ["accuracy", "no chance", "loss"])
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@pytest.mark.parametrize("budget", [420, 500, 900, 2000, 6000])
@pytest.mark.parametrize("honest", [0.87, CHANCE])  # below chance, and level with it
def test_settings_that_diverged_are_never_picked_while_others_did_not(
    scale: str, strategy: str, budget: int, honest: float
) -> None:
    plan = make_plan(budget, strategy=strategy, eval_samples=500, higher_is_better=scale != "loss")
    fragile = {"weight decay": lambda p: p.candidate.weight_decay == 1e-2,
               "the base": lambda p: p.candidate == replace(plan.base, max_lr=0.5),
               "cycled momentum": lambda p: p.candidate.momentum == (0.95, 0.85),
               "long": lambda p: p.candidate.weight_decay <= 1e-4 and p.steps > 40}  # fmt: skip
    for what, breaks in fragile.items():
        knowledge = run(plan, unbalanced(scale, breaks, honest))
        trials = [probe for probe in knowledge if probe.kind == "training"]
        if all(knowledge[probe].diverged for probe in trials):
            continue
        found = conclude(knowledge, plan)
        ends = [knowledge[probe].diverged for probe in trials if probe.candidate == found.candidate]
        assert ends, (what, found)
        assert not ends[-1], (what, found)  # the longest comes last
        assert "diverged" not in found.reason


def test_what_diverged_in_a_short_training_is_not_trained_long_while_others_did_not() -> None:
    knowledge = run(make_plan(2000), unbalanced("accuracy", lambda probe: probe.candidate.weight_decay != 1e-4))
    trials = [probe for probe in knowledge if probe.factor == "weight decay"]
    short = min(probe.steps for probe in trials)
    assert {p.candidate.weight_decay for p in trials if p.steps == short} == set(DECAYS)
    assert {p.candidate.weight_decay for p in trials if p.steps > short} == {1e-4}


@pytest.mark.parametrize("scale", ["accuracy", "no chance", "loss"])
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_where_every_training_diverged_it_says_so_and_steps_down(scale: str, strategy: str) -> None:
    plan = make_plan(500, strategy=strategy, higher_is_better=scale != "loss")
    knowledge = run(plan, unbalanced(scale, lambda probe: True))
    found = conclude(knowledge, plan)
    trained = {probe.candidate for probe in knowledge if probe.kind == "training"}
    assert finalists(knowledge, plan) == []
    assert found.reason.startswith("every trial training diverged: max_lr")
    assert "clip_grad_norm" in found.reason
    assert found.confirmed == 0
    assert found.candidate not in trained
    assert found.candidate.max_lr < min(candidate.max_lr for candidate in trained)


def test_a_lowered_rate_that_diverges_is_lowered_again_and_confirmed_where_it_holds() -> None:
    plan = make_plan(1000)
    knowledge = run(plan, unbalanced("accuracy", lambda probe: probe.candidate.max_lr > 0.2))
    found = conclude(knowledge, plan)
    assert found.candidate.max_lr == 0.12  # 0.5, 0.25: both diverged
    assert found.confirmed == 2
    assert stepped_down(knowledge, plan) == found.candidate
    assert stepped_down({}, plan) is None
    assert stepped_down(run(plan), plan) is None


def test_a_finalist_that_diverged_on_a_fresh_seed_loses_to_one_whose_turn_had_not_come() -> None:
    a, b = Candidate(1.0), Candidate(0.3)
    knowledge = {
        training(a, FIRST_SEED): Outcome(0.95, 50), training(b, FIRST_SEED): Outcome(0.9, 50),
        training(a, FIRST_SEED + 1): Outcome(0.99, 50, diverged=True),
    }  # fmt: skip
    found = conclude(knowledge, make_plan())
    assert (found.candidate, found.confirmed) == (b, 0)


def training(candidate: Candidate, seed: int, steps: int = 50) -> Probe:
    return make_plan().training(candidate, steps, seed, "", "")


def test_the_winner_has_the_best_mean_and_divergence_counts_as_chance() -> None:
    a, b = Candidate(1.0), Candidate(0.3)
    knowledge: Knowledge = {
        training(a, FIRST_SEED): Outcome(0.95, 50), training(b, FIRST_SEED): Outcome(0.9, 50),
        training(a, FIRST_SEED + 1): Outcome(0.96, 50), training(b, FIRST_SEED + 1): Outcome(0.9, 50),
    }  # fmt: skip
    assert conclude(knowledge, make_plan()).candidate == a
    worse = {**knowledge, training(a, FIRST_SEED + 1): Outcome(0.1, 50, diverged=True)}
    assert conclude(worse, make_plan()).candidate == b
    lower = replace(make_plan(), higher_is_better=False)
    assert conclude(knowledge, lower).candidate == b


def test_what_differs_by_less_than_its_noise_changes_nothing() -> None:
    plan = make_plan(6000, eval_samples=500)

    def flat(probe: Probe) -> Outcome:
        if probe.kind == "range test":
            return answer(probe)
        return Outcome(0.95 + 0.001 * math.log10(probe.candidate.weight_decay * probe.candidate.max_lr), probe.cost)

    usual = replace(plan.base, max_lr=0.5)
    known = run(plan, flat)
    assert conclude(known, plan).candidate == usual
    momenta = {probe.candidate for probe in known if probe.factor == "momentum"}
    assert momenta == {replace(usual, momentum=(0.9, 0.9))}  # nor on the way there
    exact = replace(plan, eval_samples=None)
    assert conclude(run(exact, flat), exact).candidate.weight_decay > 1e-3
    assert plan.ties(0.95, 0.955)  # a standard error is .0093
    assert not plan.ties(0.94, 0.955)
    assert not plan.ties(None, 0.9)


def test_the_ridge_is_found_where_it_stands_out_of_the_noise() -> None:
    plan = make_plan(6000, eval_samples=5000)
    found = conclude(run(plan), plan)
    assert abs(math.log10(found.candidate.weight_decay * found.candidate.max_lr / 1e-3)) <= 0.5


def test_a_search_cut_short_concludes_from_what_there_is() -> None:
    plan = make_plan()
    knowledge = run(plan)
    ramps = {probe: outcome for probe, outcome in knowledge.items() if probe.kind == "range test"}
    assert conclude(ramps, plan).candidate == replace(plan.base, max_lr=0.5)
    assert "range test alone" in conclude(ramps, plan).reason
    trials = {probe: outcome for probe, outcome in knowledge.items() if probe.seed <= FIRST_SEED}
    found = conclude(trials, plan)
    assert found.candidate == finalists(knowledge, plan)[0]
    assert found.confirmed == 0


def test_picks_at_an_edge_are_named() -> None:
    trials = {training(Candidate(1.0, decay), FIRST_SEED): Outcome(0.5, 50) for decay in DECAYS}
    assert edges(Candidate(1.0, 1e-3), trials) == ()
    (sentence,) = edges(Candidate(1.0, 1e-2), trials)
    assert "weight decay 0.01 is the largest" in sentence
    trials |= {training(Candidate(1.0, 0.0), FIRST_SEED): Outcome(0.5, 50)}
    assert edges(Candidate(1.0, 0.0), trials) == ()  # nothing lies beyond
    assert conclude(trials, make_plan()).untried == ("max lr", "momentum", "batch size", "dropout")


def test_companion_follows_its_steps() -> None:
    knowledge = run(make_plan(3000, strategy="companion", weight_decays=(1e-4, 1e-3, 1e-5, 0.0), momenta=MOMENTA))
    factors = list(dict.fromkeys(probe.factor for probe in knowledge))
    assert factors == ["range test", "momentum", "weight decay"]
    highs = {p.candidate.momentum[0] for p in knowledge if p.factor == "momentum"}
    assert highs == {0.99, 0.97, 0.95, 0.9}
    decays = [p.candidate.weight_decay for p in knowledge if p.factor == "weight decay"]
    assert set(decays[:3]) == {1e-3, 1e-5, 0.0}  # 1e-4 is known from the momenta
    assert set(decays[3:]) == {3e-3, 3e-4}  # one significant figure
    assert len({p.steps for p in knowledge if p.kind == "training"}) == 1
    assert {p.candidate.max_lr for p in knowledge if p.kind == "training"} == {0.5}
    bare = run(make_plan(600, strategy="companion", weight_decays=(), base=Candidate(0.1, None), momenta=MOMENTA))
    assert len(bare) == 5  # every momentum has its training where nothing else is searched
