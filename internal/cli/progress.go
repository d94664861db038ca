package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress tells how far a long command is: on a terminal with a bar that moves,
// elsewhere with a line every few seconds. It is for one goroutine.
type progress struct {
	out      io.Writer
	terminal bool
	what     string // is counted
	total    int64  // of what update is told; 0: not known
	begun    time.Time
	began    int64 // done and count at the first update
	first    int
	started  bool
	last     time.Time
	shown    bool // a bar is on the terminal
}

const (
	barInterval  = 100 * time.Millisecond
	lineInterval = 5 * time.Second
	barWidth     = 30
)

func newProgress(out io.Writer, total int64, what string) *progress {
	now := time.Now()
	return &progress{out: out, terminal: isTerminal(out), total: total, what: what, begun: now, last: now}
}

// update takes in that done of the total is done and how many that are; more is
// said after that.
func (p *progress) update(done int64, count int, more func() string) {
	now := time.Now()
	if !p.started {
		p.started, p.began, p.first, p.begun = true, done, count, now
	}
	interval := lineInterval
	if p.terminal {
		interval = barInterval
	}
	if now.Sub(p.last) < interval {
		return
	}
	p.last = now
	text := number(count) + " " + p.what
	took := now.Sub(p.begun).Seconds()
	if took > 0 {
		text += fmt.Sprintf(", %s/s", number(int(float64(count-p.first)/took)))
	}
	if p.total > 0 {
		part := min(float64(done)/float64(p.total), 1)
		percent := fmt.Sprintf("%3.0f%%", 100*part)
		if rate := float64(done-p.began) / took; rate > 0 {
			left := time.Duration(float64(p.total-done) / rate * float64(time.Second))
			text += fmt.Sprintf(", %v left", max(left, 0).Round(time.Second))
		}
		if p.terminal {
			full := int(part * barWidth)
			text = "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "] " + percent + "  " + text
		} else {
			text = strings.TrimSpace(percent) + ", " + text
		}
	}
	if more != nil {
		text += more()
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
