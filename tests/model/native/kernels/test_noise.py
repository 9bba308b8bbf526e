"""Noise by number: which bits, whether they are normal, and that they depend on their place alone."""

import pytest

torch = pytest.importorskip("torch")

from cosyserve_workers.native.kernels.noise import Noise, key_of  # noqa: E402

HARMONICS = 9
BITS = 1 << 64
CPU = torch.device("cpu")
FIRST = [-1.7353344849816077, 0.056619255319731554, 0.7991081123638913, 0.473911364784434]
"""Of the seed 7: a change of these would be one of every seed's sound."""


@pytest.fixture
def noise() -> Noise:
    return Noise(HARMONICS, CPU)


def split_mix(key: int, number: int) -> int:
    """SplitMix64's number-th output, in whole numbers."""
    z = (key + number * 0x9E3779B97F4A7C15) % BITS
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % BITS
    z = (z ^ z >> 27) * 0x94D049BB133111EB % BITS
    return z ^ z >> 31


def test_bits_are_those_of_the_definition(noise: Noise) -> None:
    # The first outputs that the generator's authors give for the seed 1234567.
    assert [split_mix(1234567, number) for number in (1, 2)] == [6457827717110365317, 3203168211198807973]
    assert key_of(1234567) == 6457827717110365317
    key, first = key_of(7), -960
    made = noise.bits(torch.tensor([noise.place(key, first)]), 8)
    wanted = [
        [split_mix(key, ((first + 2 * pair) // 2) * HARMONICS + harmonic + 1) for pair in range(4)]
        for harmonic in range(HARMONICS)
    ]
    assert [[number % BITS for number in row] for row in made[0].tolist()] == wanted


def test_bits_make_these_normals(noise: Noise) -> None:
    drawn = noise.draw(torch.tensor([noise.place(key_of(7), 0)]), 4)
    halves = noise.bits(torch.tensor([noise.place(key_of(7), 0)]), 4)[0, 0].view(torch.int32).double() / 2**32
    angle, share = halves[::2] * 2 * torch.pi, halves[1::2] + 0.5 + 0.5**33
    radius = torch.sqrt(-2 * torch.log(share))
    wanted = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1).flatten()
    assert torch.allclose(drawn[0, 0], wanted, rtol=0, atol=1e-12)
    assert drawn[0, 0, :4].tolist() == pytest.approx(FIRST, abs=1e-6)


def test_noise_depends_on_its_place_alone(noise: Noise) -> None:
    keys = [key_of(1), key_of(2)]
    whole = noise.draw(torch.tensor([noise.place(key, 0) for key in keys]), 4800)
    for key, row in zip(keys, whole, strict=True):
        (part,) = noise.draw(torch.tensor([noise.place(key, 960)]), 480)
        assert torch.equal(part, row[:, 960:1440])
    assert not torch.equal(*whole)


def test_noise_is_normal_and_nothing_in_it_goes_together(noise: Noise) -> None:
    samples = 1 << 17
    rows = torch.cat([*noise.draw(torch.tensor([noise.place(key_of(seed), 0) for seed in (1, 2)]), samples)])
    # Of so many, a mean or a correlation has this deviation: five of them in a hundred thousand cases are not luck.
    one = samples**-0.5
    assert (rows.mean(1).abs() < 5 * one).all()
    assert ((rows.var(1) - 1).abs() < 5 * 2**0.5 * one).all()
    assert ((rows**3).mean(1).abs() < 5 * 15**0.5 * one).all()
    assert (((rows**4).mean(1) - 3).abs() < 5 * 96**0.5 * one).all()
    for lag in (0, 1, 2, 3, 480):
        together = rows[:, lag:] @ rows[:, : samples - lag].T / samples
        if lag == 0:
            together.fill_diagonal_(0)
        assert together.abs().max() < 5 * one
    beyond = (rows.abs() > 4).double().mean()
    assert 0.5 < beyond / 6.334e-5 < 1.5
    assert rows.abs().max() < 6.8
