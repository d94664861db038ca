package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"tidings/bench/load"
)

var quantiles = []struct {
	name  string
	share float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}}

// print writes the result of a run as a table for people.
func (b *bencher) print(r load.Result) error {
	rate := "as fast as the server answers"
	if b.rate > 0 {
		rate = fmt.Sprintf("%g requests/s", b.rate)
	}
	table := tabwriter.NewWriter(b.stdout, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, name+"\t"+format+"\n", args...)
	}
	row("Command", "%s, users a request: %d", b.command, b.batch)
	row("Load", "%s, connections: %d", rate, b.connections)
	row("Time", "%.2f s", r.Elapsed.Seconds())
	row("Requests", "%d, %.0f/s", r.Requests, r.RequestsPerSecond())
	row("Users", "%d, %.0f/s", r.Users, r.UsersPerSecond())
	for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
		row("Failed "+codeName(code), "%d", r.Errors[code])
	}
	for _, q := range quantiles {
		row("Latency "+q.name, "%v", r.Latency.Quantile(q.share).Round(time.Microsecond))
	}
	return table.Flush()
}

func codeName(code int) string {
	if code == load.Broken {
		return "broken"
	}
	return strconv.Itoa(code)
}

// A report is the result of a run for programs.
type report struct {
	Command           string             `json:"command"`
	UsersPerRequest   int                `json:"users_per_request"`
	Connections       int                `json:"connections"`
	Rate              float64            `json:"rate,omitempty"`
	Seconds           float64            `json:"seconds"`
	Requests          uint64             `json:"requests"`
	RequestsPerSecond float64            `json:"requests_per_second"`
	Users             uint64             `json:"users"`
	UsersPerSecond    float64            `json:"users_per_second"`
	Failed            map[string]uint64  `json:"failed"` // by ErrorCode, HTTP status or "broken"
	LatencyMillis     map[string]float64 `json:"latency_ms"`
}

func (b *bencher) report(r load.Result) report {
	out := report{
		Command: b.command, UsersPerRequest: b.batch, Connections: b.connections, Rate: b.rate, Seconds: r.Elapsed.Seconds(),
		Requests: r.Requests, RequestsPerSecond: r.RequestsPerSecond(), Users: r.Users, UsersPerSecond: r.UsersPerSecond(),
		Failed: map[string]uint64{}, LatencyMillis: map[string]float64{},
	}
	for code, n := range r.Errors {
		out.Failed[codeName(code)] = n
	}
	for _, q := range quantiles {
		out.LatencyMillis[q.name] = float64(r.Latency.Quantile(q.share)) / float64(time.Millisecond)
	}
	return out
}
