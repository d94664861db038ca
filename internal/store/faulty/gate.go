package faulty

import "sync"

// A Gate holds what passes through it while it is shut. It is open at first. (It has
// no mutex that is waited for: that would keep a bubble of synctest from resting.)
type Gate struct {
	mu     sync.Mutex
	opened sync.Cond
	closed bool
	passes int // how many may pass a closed gate
}

func (g *Gate) set(closed bool, passes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened.L = &g.mu
	g.closed, g.passes = closed, passes
	g.opened.Broadcast()
}

// Shut shuts the gate.
func (g *Gate) Shut() { g.set(true, 0) }

// Lift opens the gate.
func (g *Gate) Lift() { g.set(false, 0) }

// Step lets one pass, and shuts the gate.
func (g *Gate) Step() { g.set(true, 1) }

// Pass returns when the gate lets the caller pass.
func (g *Gate) Pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened.L = &g.mu
	for g.closed && g.passes == 0 {
		g.opened.Wait()
	}
	g.passes = max(0, g.passes-1)
}
