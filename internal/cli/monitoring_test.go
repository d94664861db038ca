package cli

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ofPrometheus are the metric and the labels that Prometheus adds when it scrapes.
var ofPrometheus = []string{"up", "job", "instance"}

// metricLabels says which labels each metric of a served instance has.
type metricLabels map[string]map[string]bool

// knownMetrics serves an instance with everything on, calls it, and reads its metrics.
func knownMetrics(t *testing.T) metricLabels {
	t.Helper()
	cert, key := certificate(t)
	s := serve(t, t.TempDir(), "--demo", "--tls-cert", cert, "--tls-key", key)
	must(t, "call", "--data", s.dir, "--app", "1400000001", "timpush/get_attr_name", "--insecure")
	must(t, "checkpoint", "--data", s.dir)
	all := metricLabels{"up": {}}
	label := regexp.MustCompile(`([a-z_]+)="`)
	for name := range series(t, s.metrics) {
		base, labels, _ := strings.Cut(name, "{")
		if all[base] == nil {
			all[base] = map[string]bool{}
		}
		for _, m := range label.FindAllStringSubmatch(labels, -1) {
			all[base][m[1]] = true
		}
	}
	return all
}

// A selector is a metric in an expression, with the labels that it is selected by.
type selector struct {
	name   string
	labels []string
}

var (
	promToken    = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[a-zA-Z_:][a-zA-Z0-9_:]*|\S`)
	promName     = regexp.MustCompile(`^[a-zA-Z_:]`)
	promGrouping = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}
	promOperator = []string{"and", "or", "unless", "bool", "offset"}
)

// parse returns the metrics of a PromQL expression and the labels that it groups by. It
// knows no more of the language than the rules and panels use.
func parse(expr string) (metrics []selector, grouped []string) {
	tokens := promToken.FindAllString(expr, -1)
	names := func(i int, end string) (list []string, next int) {
		for ; i < len(tokens) && tokens[i] != end; i++ {
			if promName.MatchString(tokens[i]) {
				list = append(list, tokens[i])
			}
		}
		return list, i
	}
	for i := 0; i < len(tokens); i++ {
		token, next := tokens[i], ""
		if i+1 < len(tokens) {
			next = tokens[i+1]
		}
		var list []string
		switch {
		case !promName.MatchString(token) || slices.Contains(promOperator, token):
		case slices.Contains(promGrouping, token):
			list, i = names(i+2, ")")
			grouped = append(grouped, list...)
		case next == "(" || slices.Contains(promGrouping, next): // a function
		case next == "{":
			list, i = names(i+2, "}")
			metrics = append(metrics, selector{token, list})
		default:
			metrics = append(metrics, selector{name: token})
		}
	}
	return metrics, grouped
}

// check reports what an expression names that no instance has. Shown are labels that its
// texts show.
func (k metricLabels) check(t *testing.T, where, expr string, shown []string) {
	t.Helper()
	metrics, grouped := parse(expr)
	if len(metrics) == 0 {
		t.Errorf("%s: no metric in %q", where, expr)
	}
	for _, m := range metrics {
		if k[m.name] == nil {
			t.Errorf("%s: there is no metric %s", where, m.name)
		}
		for _, label := range m.labels {
			if !k[m.name][label] && !slices.Contains(ofPrometheus, label) {
				t.Errorf("%s: %s has no label %s", where, m.name, label)
			}
		}
	}
	for _, label := range append(grouped, shown...) {
		if !slices.Contains(ofPrometheus, label) && !slices.ContainsFunc(metrics, func(m selector) bool { return k[m.name][label] }) {
			t.Errorf("%s: nothing in %q has a label %s", where, expr, label)
		}
	}
}

func submatches(pattern, text string) (all []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestAlerts: the rules ask for metrics and labels that there are, and the operator's guide
// says of each alert, and of no other, what to do.
func TestAlerts(t *testing.T) {
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	text, err := os.ReadFile("../../dist/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../doc/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	codes, err := os.ReadFile("../../doc/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	all := knownMetrics(t)
	var alerts []string
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			alerts = append(alerts, r.Alert)
			all.check(t, r.Alert, r.Expr, submatches(`\$labels\.(\w+)`, r.Annotations["summary"]))
			if r.Annotations["summary"] == "" || r.Labels["severity"] != "critical" && r.Labels["severity"] != "warning" {
				t.Errorf("%s has no summary or no severity", r.Alert)
			}
			for _, list := range submatches(`code=~"([^"]*)"`, r.Expr) {
				for code := range strings.SplitSeq(list, "|") {
					if !strings.Contains(string(codes), code) {
						t.Errorf("%s: there is no code %s", r.Alert, code)
					}
				}
			}
		}
	}
	if described := submatches(`(?m)^#### (Tidings\w+)$`, string(guide)); len(alerts) == 0 || !slices.Equal(described, alerts) {
		t.Errorf("the guide describes %v, the alerts are %v", described, alerts)
	}
}

// TestDashboard: each panel asks for metrics and labels that there are.
func TestDashboard(t *testing.T) {
	var file struct {
		Panels []struct {
			ID          int
			Title, Type string
			Targets     []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	text, err := os.ReadFile("../../dist/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	all := knownMetrics(t)
	seen := map[int]bool{}
	for _, p := range file.Panels {
		if seen[p.ID] || len(p.Targets) == 0 && p.Type != "row" {
			t.Errorf("panel %q: its number %d is taken, or it shows nothing", p.Title, p.ID)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			all.check(t, p.Title, target.Expr, submatches(`\{\{(\w+)\}\}`, target.LegendFormat))
		}
	}
	for _, v := range file.Templating.List {
		if v.Name == "instance" && all[submatches(`label_values\((\w+),`, v.Definition)[0]] == nil {
			t.Errorf("the servers are listed by %s", v.Definition)
		}
	}
}

// TestParse: the tests above are worth what their parser is.
func TestParse(t *testing.T) {
	metrics, grouped := parse(`histogram_quantile(0.9, sum by (le, a) (rate(m_bucket{x="y(z)", v=~"w"}[5m]))) > 2 * clamp_min(n / 2, 7) and o == 1`)
	if len(metrics) != 3 || metrics[0].name != "m_bucket" || !slices.Equal(metrics[0].labels, []string{"x", "v"}) || metrics[1].name != "n" || metrics[2].name != "o" || !slices.Equal(grouped, []string{"le", "a"}) {
		t.Errorf("%+v, by %v", metrics, grouped)
	}
}
