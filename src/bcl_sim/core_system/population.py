"""Who lives with whom: ages after the age pyramid, households assembled from them.

Persons are drawn first (so the pyramid holds exactly), then couples are formed, children and
grown-up children are put with parents of a fitting age, old parents with their children's
household, and the rest live alone or share. All by array operations over one block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcl_sim.core_system.tables import age_shares

RELATIONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("02",), "世帯主"),
    (("12",), "妻"),
    (("11",), "夫"),
    (("20",), "子"),
    (("51",), "父"),
    (("52",), "母"),
    (("12", "51"), "妻の父"),
    (("12", "52"), "妻の母"),
    (("96",), "縁故者"),
    (("99",), "同居人"),
    (("14",), "妻（未届）"),
    (("13",), "夫（未届）"),
    (("11", "51"), "夫の父"),
    (("11", "52"), "夫の母"),
)
HEAD, WIFE, HUSBAND, CHILD = 0, 1, 2, 3
FATHER, MOTHER, SPOUSE_FATHER, SPOUSE_MOTHER = 4, 5, 6, 7
TIES, COHABITANT, UNREGISTERED_WIFE, UNREGISTERED_HUSBAND = 8, 9, 10, 11
HUSBANDS_FATHER, HUSBANDS_MOTHER = 12, 13

_RANK = np.array([0, 1, 1, 2, 3, 3, 3, 3, 4, 5, 1, 1, 3, 3])
_MARRIED_MEN = ((17, 0.0), (20, 0.02), (25, 0.15), (30, 0.45), (35, 0.65), (60, 0.78), (90, 0.8))
_MARRIED_WOMEN = ((17, 0.0), (20, 0.03), (25, 0.2), (30, 0.55), (60, 0.8), (75, 0.65), (90, 0.15))


@dataclass(frozen=True)
class People:
    """One block of living residents, in order of household, then entry order.

    Arrays of equal length: `age` in years, `sex` 1/2, `household` 0..H-1 without holes,
    `order` 1..n inside the household, `relation` index into RELATIONS, `lineage` 0 = bears the
    head's surname, 1 = the spouse's family, 2 = no relation.
    """

    age: np.ndarray
    sex: np.ndarray
    household: np.ndarray
    order: np.ndarray
    relation: np.ndarray
    lineage: np.ndarray

    @property
    def households(self) -> int:
        """Number of households in the block."""
        return int(self.household[-1]) + 1 if len(self.household) else 0


def draw_ages(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Ages and sexes of `count` persons: exact shares of the pyramid, rest by chance."""
    sexes, ages, shares = age_shares()
    whole = np.floor(shares * count).astype(np.int64)
    rest = shares * count - whole
    missing = count - int(whole.sum())
    extra = rng.choice(len(shares), size=missing, replace=False, p=rest / rest.sum())
    whole[extra] += 1
    picked = np.repeat(np.arange(len(shares)), whole)
    rng.shuffle(picked)
    return ages[picked], sexes[picked]


def attach(
    rng: np.random.Generator, *, wanted: np.ndarray, hosts: np.ndarray, capacity: int
) -> np.ndarray:
    """For each wanted host age, the index of a host of about that age, or -1.

    A host takes at most `capacity`. Whoever finds a full host tries again farther away.
    """
    result = np.full(len(wanted), -1, dtype=np.int64)
    if not len(hosts) or not len(wanted):
        return result
    order = np.argsort(hosts, kind="stable")
    ages = hosts[order]
    used = np.zeros(len(hosts), dtype=np.int64)
    waiting = np.arange(len(wanted))
    for spread in (1.0, 1.5, 2.5, 4.0, 6.0, 9.0):
        low = np.searchsorted(ages, wanted[waiting] - spread, side="left")
        high = np.searchsorted(ages, wanted[waiting] + spread, side="right")
        place = np.minimum(low + (rng.random(len(waiting)) * (high - low)).astype(np.int64), high)
        valid = high > low
        place = np.minimum(place, len(ages) - 1)
        sequence = np.argsort(place, kind="stable")
        sorted_place = place[sequence]
        first = np.searchsorted(sorted_place, sorted_place, side="left")
        rank = np.empty(len(waiting), dtype=np.int64)
        rank[sequence] = np.arange(len(waiting)) - first
        taken = valid & (used[place] + rank < capacity)
        result[waiting[taken]] = order[place[taken]]
        np.add.at(used, place[taken], 1)
        waiting = waiting[~taken]
        if not len(waiting):
            break
    return result


class _Assembly:
    """Working arrays while a block is put together."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        self.rng = rng
        self.age, self.sex = draw_ages(rng, count)
        self.household = np.full(count, -1, dtype=np.int64)
        self.relation = np.full(count, HEAD, dtype=np.int64)
        self.lineage = np.zeros(count, dtype=np.int64)
        self.next_household = 0

    def free(self, mask: np.ndarray) -> np.ndarray:
        return np.flatnonzero(mask & (self.household < 0))

    def found(self, heads: np.ndarray) -> np.ndarray:
        """New households headed by the given persons."""
        numbers = np.arange(self.next_household, self.next_household + len(heads))
        self.next_household += len(heads)
        self.household[heads] = numbers
        self.relation[heads] = HEAD
        return numbers

    def join(
        self, persons: np.ndarray, hosts: np.ndarray, relation: np.ndarray | int, lineage: int
    ) -> None:
        self.household[persons] = self.household[hosts]
        self.relation[persons] = relation
        self.lineage[persons] = lineage


def _chance(age: np.ndarray, points: tuple[tuple[int, float], ...]) -> np.ndarray:
    return np.interp(age, [float(a) for a, _ in points], [share for _, share in points])


def _marry(work: _Assembly) -> tuple[np.ndarray, np.ndarray]:
    """Form couples; gives (husbands, wives), each couple a household of its own."""
    rng, age = work.rng, work.age
    chance_w = _chance(age, _MARRIED_WOMEN)
    chance_m = _chance(age, _MARRIED_MEN)
    chance_m = np.where((work.sex == 1) & (age >= 18), chance_m, 0.0)
    wives = np.flatnonzero((work.sex == 2) & (age >= 18) & (rng.random(len(age)) < chance_w))
    men = np.flatnonzero(chance_m > 0)
    count = min(len(wives), len(men))
    wives = rng.permutation(wives)[:count]
    # Weighted drawing without replacement: the largest u^(1/w) win.
    score = rng.random(len(men)) ** (1 / chance_m[men])
    husbands = men[np.argsort(-score)[:count]]
    wives = wives[np.argsort(age[wives] + rng.normal(0, 1.5, count))]
    husbands = husbands[np.argsort(age[husbands] + rng.normal(0, 1.5, count))]
    wife_heads = rng.random(count) < 0.06
    heads = np.where(wife_heads, wives, husbands)
    spouses = np.where(wife_heads, husbands, wives)
    work.found(heads)
    work.join(spouses, heads, np.where(wife_heads, HUSBAND, WIFE), 0)
    unregistered = rng.random(count) < 0.006
    work.relation[spouses[unregistered]] += UNREGISTERED_WIFE - WIFE
    work.lineage[spouses[unregistered]] = 2
    return husbands, wives


def _place_children(work: _Assembly, wives: np.ndarray) -> None:
    """Minors and grown-up children who still live at home go to mothers of a fitting age."""
    rng, age = work.rng, work.age
    single = work.free((work.sex == 2) & (age >= 20) & (age < 62))
    single = single[rng.random(len(single)) < 0.12]
    work.found(single)
    mothers = np.concatenate([wives, single])
    at_home = np.interp(age, (17, 18, 24, 30, 40, 55), (1.0, 0.85, 0.7, 0.45, 0.3, 0.1))
    children = work.free(rng.random(len(age)) < at_home)
    wanted = age[children] + np.clip(rng.normal(31, 4, len(children)), 19, 44)
    hosts = attach(rng, wanted=wanted, hosts=age[mothers].astype(float), capacity=4)
    fitting = hosts >= 0
    fitting[fitting] = age[mothers[hosts[fitting]]] - age[children[fitting]] >= 15
    work.join(children[fitting], mothers[hosts[fitting]], CHILD, 0)
    orphans = children[~fitting & (age[children] < 18)]
    adults = np.flatnonzero((work.household >= 0) & (age >= 25) & (work.relation == HEAD))
    if len(orphans) and len(adults):
        work.join(orphans, rng.choice(adults, len(orphans)), TIES, 2)


def _place_old_parents(work: _Assembly, husbands: np.ndarray) -> None:
    """Some widowed parents live with a married child."""
    rng, age = work.rng, work.age
    parents = work.free((age >= 68) & (rng.random(len(age)) < 0.33))
    hosts = attach(
        rng,
        wanted=age[parents] - np.clip(rng.normal(29, 4, len(parents)), 19, 45),
        hosts=age[husbands].astype(float),
        capacity=1,
    )
    fitting = hosts >= 0
    fitting[fitting] = age[parents[fitting]] - age[husbands[hosts[fitting]]] >= 16
    parents, hosts = parents[fitting], husbands[hosts[fitting]]
    own = rng.random(len(parents)) < 0.8
    male = work.sex[parents] == 1
    husband_heads = work.relation[hosts] == HEAD
    relation = np.where(
        husband_heads,
        np.where(own, np.where(male, FATHER, MOTHER), np.where(male, SPOUSE_FATHER, SPOUSE_MOTHER)),
        np.where(
            own, np.where(male, HUSBANDS_FATHER, HUSBANDS_MOTHER), np.where(male, FATHER, MOTHER)
        ),
    )
    work.join(parents, hosts, relation, 0)
    work.lineage[parents] = np.where(own, 0, 1)


def assemble_people(rng: np.random.Generator, count: int) -> People:
    """`count` living residents in households, ages after the pyramid."""
    work = _Assembly(rng, count)
    husbands, wives = _marry(work)
    _place_children(work, wives)
    _place_old_parents(work, husbands)
    minors = work.free(work.age < 18)
    adults = work.free(work.age >= 18)
    work.found(adults)
    _share_flats(work, adults)
    if len(minors):
        heads = np.flatnonzero((work.relation == HEAD) & (work.household >= 0) & (work.age >= 18))
        if len(heads):
            work.join(minors, rng.choice(heads, len(minors)), TIES, 2)
        else:
            work.found(minors)
    # A household whose head moved in with another one leaves a hole in the numbering.
    _, household = np.unique(work.household, return_inverse=True)
    work.household = household
    return _sorted(work)


def _share_flats(work: _Assembly, singles: np.ndarray) -> None:
    """A few persons living alone take in another one."""
    chosen = singles[(work.age[singles] < 70) & (work.rng.random(len(singles)) < 0.04)]
    pairs = len(chosen) // 2
    hosts, guests = chosen[:pairs], chosen[pairs : 2 * pairs]
    kinds = work.rng.choice([COHABITANT, TIES], size=pairs, p=[0.7, 0.3])
    work.join(guests, hosts, kinds, 2)


def _sorted(work: _Assembly) -> People:
    sequence = np.lexsort((-work.age, _RANK[work.relation], work.household))
    household = work.household[sequence]
    starts = np.searchsorted(household, household, side="left")
    return People(
        age=work.age[sequence],
        sex=work.sex[sequence],
        household=household,
        order=np.arange(len(sequence)) - starts + 1,
        relation=work.relation[sequence],
        lineage=work.lineage[sequence],
    )
