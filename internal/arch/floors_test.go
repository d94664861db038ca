package arch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// floors has every package of the product, those of a floor in one line, the upper
// floors first. A package imports from lower floors only. A new package needs a place
// here: beside others, or on a floor of its own.
var floors = []string{
	"doc dist internal/arch internal/testenv internal/store/storetest internal/store/faulty internal/channel/channeltest", // for tests, so nothing imports them
	"cmd/tidings",
	"internal/cli",
	"internal/server",
	"internal/api internal/control client",
	"internal/admin internal/gate internal/config internal/dispatch internal/simulate internal/store/lsm internal/channel/fcm",
	"internal/transfer internal/channel/credential",
	"internal/task",
	"internal/device internal/report",
	"internal/app internal/index internal/store/journal internal/userfile",
	"internal/audience internal/usersig internal/channel internal/channel/h2",
	"internal/apierr internal/wording internal/store",
}

const (
	product = "tidings/"
	bench   = "tidings/bench/"
)

func TestFloors(t *testing.T) {
	for _, mistake := range climbs(floors, list(t)) {
		t.Error(mistake)
	}
}

// climbs returns what is wrong with the floors of a graph of packages.
func climbs(floors []string, packages map[string]node) (mistakes []string) {
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Sprintf(format, args...)) }
	floor := map[string]int{}
	for i, line := range floors {
		for name := range strings.FieldsSeq(line) {
			p := product + name
			if _, twice := floor[p]; twice {
				wrong("package %s is on two floors", p)
			}
			if _, exists := packages[p]; !exists {
				wrong("package %s is on a floor and does not exist", p)
			}
			floor[p] = i
		}
	}
	for p, n := range packages {
		if !strings.HasPrefix(p, product) || strings.HasPrefix(p, bench) {
			continue
		}
		from, listed := floor[p]
		if !listed {
			wrong("package %s is on no floor; give it a place in floors", p)
			continue
		}
		for _, d := range n.imports {
			if strings.HasPrefix(d, bench) {
				wrong("%s imports %s: the product never imports the bench", p, d)
			} else if to, listed := floor[d]; listed && to <= from {
				wrong("%s imports %s, which is on no lower floor", p, d)
			}
		}
	}
	slices.Sort(mistakes)
	return mistakes
}

func TestClimbs(t *testing.T) {
	packages := map[string]node{
		"tidings/cmd/tidings": {imports: []string{"fmt", "tidings/cli", "tidings/low"}},
		"tidings/cli":         {imports: []string{"tidings/cli2", "tidings/bench/load"}},
		"tidings/cli2":        {},
		"tidings/low":         {imports: []string{"tidings/cli", "tidings/forgotten"}},
		"tidings/forgotten":   {imports: []string{"tidings/cmd/tidings"}},
		"tidings/bench/load":  {imports: []string{"tidings/low"}},
		"fmt":                 {imports: []string{"os"}},
	}
	got := climbs([]string{"cmd/tidings", "cli cli2", "low gone low"}, packages)
	want := []string{
		"package tidings/forgotten is on no floor; give it a place in floors",
		"package tidings/gone is on a floor and does not exist",
		"package tidings/low is on two floors",
		"tidings/cli imports tidings/bench/load: the product never imports the bench",
		"tidings/cli imports tidings/cli2, which is on no lower floor",
		"tidings/low imports tidings/cli, which is on no lower floor",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
