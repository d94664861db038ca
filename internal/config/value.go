package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"tidings/internal/app"
	"tidings/internal/wording"
)

// A value says how a key is read, and what may be written there.
type value struct {
	typ      string // for help and documentation
	list     bool   // a YAML list; separated by commas in a variable or flag
	fileOnly bool   // there is no variable and no flag
	read     func(r *reader, pos spot, n *yaml.Node)
}

// one returns the value of a key with one text. If the text is wrong, *into stays as it is.
func one[T any](typ string, into *T, parse func(string) (T, error)) value {
	return value{typ: typ, read: func(r *reader, pos spot, n *yaml.Node) {
		if v, ok := scalar(r, pos, n, parse); ok {
			*into = v
		}
	}}
}

// list returns the value of a key with a list of texts. A list that was set is not nil, even
// if it is empty.
func list[T any](typ string, into *[]T, parse func(string) (T, error)) value {
	return value{typ: typ, list: true, read: func(r *reader, pos spot, n *yaml.Node) {
		if !r.is(yaml.SequenceNode, pos, n) {
			return
		}
		all := make([]T, 0, len(n.Content))
		for i, item := range n.Content {
			// A wrong one is there too, so that the others keep their place.
			v, _ := scalar(r, r.item(pos, i, item), item, parse)
			all = append(all, v)
		}
		*into = all
	}}
}

// setting is the value of a setting of an app.
func setting(s app.Setting) value {
	return value{typ: s.Type(), list: s.Shape() == app.List, read: func(r *reader, at spot, n *yaml.Node) {
		put := func(at spot, key string, n *yaml.Node) {
			text := ""
			good := r.is(yaml.ScalarNode, at, n)
			if good {
				text = n.Value
			}
			if good || s.Shape() != app.One { // items keep their place
				if err := s.Put(key, text); err != nil && good {
					r.wrong(at, "%v", err)
				}
			}
		}
		switch s.Shape() {
		case app.One:
			put(at, "", n)
		case app.List:
			if r.is(yaml.SequenceNode, at, n) {
				s.Clear()
				for i, item := range n.Content {
					put(r.item(at, i, item), "", item)
				}
			}
		case app.Mapping:
			s.Clear()
			r.entries(at, n, put)
		}
	}}
}

func scalar[T any](r *reader, pos spot, n *yaml.Node, parse func(string) (T, error)) (T, bool) {
	var none T
	if !r.is(yaml.ScalarNode, pos, n) {
		return none, false
	}
	v, err := parse(n.Value)
	if err != nil {
		r.wrong(pos, "%v", err)
		return none, false
	}
	return v, true
}

// textNode returns the node of the text of a variable or flag.
func textNode(text string, list bool) *yaml.Node {
	if !list {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if strings.TrimSpace(text) != "" {
		for item := range strings.SplitSeq(text, ",") {
			n.Content = append(n.Content, textNode(strings.TrimSpace(item), false))
		}
	}
	return n
}

func text(s string) (string, error) { return s, nil }

func notEmpty(s string) (string, error) {
	if s == "" {
		return "", errors.New("is empty")
	}
	return s, nil
}

func choice(names ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(names, s) {
			return "", fmt.Errorf("%s is none of %s", wording.Quote(s), strings.Join(names, ", "))
		}
		return s, nil
	}
}

func level(s string) (slog.Level, error) {
	_, err := choice("debug", "info", "warn", "error")(s)
	if err != nil {
		return 0, err
	}
	var l slog.Level
	return l, l.UnmarshalText([]byte(s))
}

func number(lowest, highest int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < lowest || n > highest {
			return 0, fmt.Errorf("%s is not a number from %d to %d", wording.Quote(s), lowest, highest)
		}
		return n, nil
	}
}

// units are those of sizes, the largest first. The empty unit matches any text.
var units = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

func size(lowest, highest int64) func(string) (int64, error) {
	return func(s string) (int64, error) {
		for _, u := range units {
			digits, ok := strings.CutSuffix(s, u.suffix)
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimRight(digits, " "), 10, 64)
			switch {
			case err != nil:
				return 0, fmt.Errorf("%s is not a size: write a number of bytes, or one with KiB, MiB or GiB", wording.Quote(s))
			case n > highest/u.bytes || n*u.bytes < lowest:
				return 0, fmt.Errorf("%s is not from %s to %s", wording.Quote(s), sizeText(lowest), sizeText(highest))
			}
			return n * u.bytes, nil
		}
		panic("the last unit matches every text")
	}
}

func sizeText(n int64) string {
	for _, u := range units {
		if n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	panic("the last unit divides every number")
}

func duration(lowest, highest time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		span, err := wording.ParseSpan(s)
		d := time.Duration(span)
		if err == nil && (d < lowest || d > highest) {
			return 0, fmt.Errorf("%s is not from %v to %v", wording.Quote(s), lowest, highest)
		}
		return d, err
	}
}

func address(s string) (string, error) {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", fmt.Errorf("%s is not an address such as 127.0.0.1:8080 or :8080", wording.Quote(s))
	}
	return s, nil
}

// addressOrOff parses an address; "off" is the empty one.
func addressOrOff(s string) (string, error) {
	if s == "off" {
		return "", nil
	}
	return address(s)
}

// ending parses a moment, or a day, which stands for its first moment in UTC.
func ending(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is not a time such as 2027-01-31 or 2027-01-31T18:00:00+08:00", wording.Quote(s))
}
