package wording

import (
	"math"
	"testing"
	"time"
)

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"a", "", 1},
		{"get_attr", "get_attr", 0},
		{"get_atr", "get_attr", 1},
		{"gte_attr", "get_attr", 2},
		{"listen", "silent", 4},
		{"x", "a long name", 11},
	} {
		if got := Distance(test.a, test.b); got != test.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
		if got := Distance(test.b, test.a); got != test.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", test.b, test.a, got, test.want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"plan", "region", "app build", "x"}
	for _, test := range []struct{ name, want string }{
		{"plna", "plan"},
		{"regoin", "region"},
		{"regions", "region"},
		{"app_build", "app build"},
		{"plan", "plan"},
		{"pxxn", "plan"},
		{"pxxx", ""},
		{"rexxxn", ""},
		{"y", ""},
		{"", ""},
	} {
		if got := Nearest(test.name, names); got != test.want {
			t.Errorf("Nearest(%q) = %q, want %q", test.name, got, test.want)
		}
	}
	if got := Nearest("plan", nil); got != "" {
		t.Errorf("Nearest of no names = %q", got)
	}
}

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration
		back string // empty: the text
	}{
		{"30d", 720 * time.Hour, ""},
		{"720h", 720 * time.Hour, "30d"},
		{"36h", 36 * time.Hour, "36h0m0s"},
		{"1m30s", 90 * time.Second, ""},
		{"0", 0, "0s"},
		{"0d", 0, "0s"},
		{"-24h", -24 * time.Hour, "-24h0m0s"},
		{"106751d", 106751 * 24 * time.Hour, ""},
	} {
		got, err := ParseDuration(test.text)
		if err != nil || got != test.want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", test.text, got, err, test.want)
		}
		if test.back == "" {
			test.back = test.text
		}
		if back := Duration(got); back != test.back {
			t.Errorf("Duration(%v) = %q, want %q", got, back, test.back)
		}
	}
	for _, text := range []string{"", "d", "1", "-1d", "1.5d", "1d12h", "106752d", "99999999999d", "soon"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
	if got := Duration(math.MinInt64); got != time.Duration(math.MinInt64).String() {
		t.Errorf("Duration of the least one is %q", got)
	}
}
