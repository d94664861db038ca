package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress shows how far a long command is: on a terminal with a bar that moves,
// elsewhere with a line every few seconds. One goroutine uses it.
type progress struct {
	out        io.Writer
	terminal   bool
	noun       string // for the count: "users"
	total      int64  // that done grows to; 0: not known
	started    bool   // there was an update
	start      time.Time
	startDone  int64 // done and count at the first update
	startCount int
	last       time.Time // when something was shown
	shown      bool      // a bar is on the terminal
}

const (
	barInterval  = 100 * time.Millisecond
	lineInterval = 5 * time.Second
	barWidth     = 30
)

// newProgress returns a progress that counts nouns.
func newProgress(out io.Writer, total int64, noun string) *progress {
	now := time.Now()
	return &progress{out: out, terminal: isTerminal(out), total: total, noun: noun, start: now, last: now}
}

// update shows, unless it did a moment ago, that done of the total is done, and the count
// of nouns in it. The text of suffix, if there is one, comes last.
func (p *progress) update(done int64, count int, suffix func() string) {
	now := time.Now()
	if !p.started {
		p.started, p.start, p.startDone, p.startCount = true, now, done, count
	}
	interval := lineInterval
	if p.terminal {
		interval = barInterval
	}
	if now.Sub(p.last) < interval {
		return
	}
	p.last = now
	text := number(count) + " " + p.noun
	took := now.Sub(p.start).Seconds()
	if took > 0 {
		text += fmt.Sprintf(", %s/s", number(int(float64(count-p.startCount)/took)))
	}
	if p.total > 0 {
		part := min(float64(done)/float64(p.total), 1)
		percent := fmt.Sprintf("%3.0f%%", 100*part)
		if rate := float64(done-p.startDone) / took; rate > 0 {
			rest := time.Duration(float64(p.total-done) / rate * float64(time.Second))
			text += fmt.Sprintf(", %v left", max(rest, 0).Round(time.Second))
		}
		if p.terminal {
			full := int(part * barWidth)
			text = "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "] " + percent + "  " + text
		} else {
			text = strings.TrimSpace(percent) + ", " + text
		}
	}
	if suffix != nil {
		text += suffix()
	}
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", text)
		p.shown = true
	} else {
		fmt.Fprintf(p.out, "tidings: %s\n", text)
	}
}

// clear takes the bar off the terminal, for other lines.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}
