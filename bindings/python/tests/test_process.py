"""Statistics and the configuration, of the whole process."""

import pytest

import redisroute


def value(name, **labels):
    return sum(
        s.value
        for s in redisroute.statistics()
        if s.name == name and labels.items() <= s.labels.items()
    )


def test_statistics(url):
    redisroute.count_commands()
    try:
        opened = value("redisroute_links_total", event="opened")
        before = value("redisroute_commands_total", command="incrbyfloat")
        with redisroute.connect(url) as client:
            for _ in range(7):
                client.command("INCRBYFLOAT", "statistics", 1)
        assert value("redisroute_links_total", event="opened") > opened
        assert value("redisroute_commands_total", command="incrbyfloat") == before + 7
        histogram = "redisroute_command_latency_microseconds_bucket"
        assert value(histogram, command="incrbyfloat", le="+Inf") == before + 7
        assert "# TYPE redisroute_commands_total counter\n" in redisroute.statistics_text()
        assert len(redisroute.statistics_text().splitlines()) > len(redisroute.statistics())
    finally:
        redisroute.count_commands(False)


def test_check_config(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("failover_timeout: 5s\n")
    bad.write_text("failover_timeout: 5s\nfailover_tmeout: 6s\n")
    redisroute.check_config(str(good))
    with pytest.raises(ValueError, match=r"redisroute: .*bad\.yaml:2.*failover_tmeout"):
        redisroute.check_config(str(bad))
    with pytest.raises(ValueError, match="none.yaml"):
        redisroute.check_config(f"{good}:{tmp_path}/none.yaml")
