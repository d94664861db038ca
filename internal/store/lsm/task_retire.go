package lsm

import (
	"context"
	"slices"

	"tidings/internal/device"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// commitDevices commits what becomes of a task, with tokens that are dead and badges that
// were shown. Only with these the app is locked for a change. It returns how many tokens
// were taken.
func (t *Tasks) commitDevices(ctx context.Context, r *running, dead []deadToken, badges []newDeviceBadge, s *step, write func(b *journal.Batch)) (retired int, err error) {
	if len(dead) == 0 && len(badges) == 0 {
		_, err := t.commit(ctx, r, s, write)
		return 0, err
	}
	numbers := make([]uint32, len(dead))
	for i := range dead {
		numbers[i] = dead[i].number
	}
	h, err := t.users.hintRecords(r.App, numbers, tableDevice, tableRetired)
	if err == nil {
		err = t.journal.Reserve(ctx, false)
	}
	if err != nil {
		return 0, err
	}
	x := r.x
	x.mu.Lock()
	defer x.mu.Unlock()
	defer t.journal.Guard()
	if x.gone {
		return 0, task.ErrUnknown
	}
	c := t.users.changeDevices(x, h)
	for i := range dead {
		took, err := c.retireDead(&dead[i], r.id)
		if err != nil {
			return 0, err
		}
		if took {
			retired++
		}
	}
	pos, err := r.commit(t.journal, s, func(b *journal.Batch) {
		c.write(b)
		for _, badge := range badges {
			if x.users.IsDevice(badge.number) {
				x.setBadge(b, badge.number, badge.badge)
			}
		}
		write(b)
	})
	if err != nil {
		return 0, err
	}
	c.settled(pos, &pos)
	r.mu.Lock()
	r.pos = max(r.pos, pos)
	r.mu.Unlock()
	return retired, nil
}

// retireDead retires a token if its device still has it, and has not registered it anew. It
// reports whether it did. The device is written by write.
func (c *deviceChange) retireDead(dead *deadToken, taskID string) (bool, error) {
	if !c.x.users.IsDevice(dead.number) {
		return false, nil
	}
	d, err := c.device(dead.number)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(d.is.Tokens, func(t device.Token) bool {
		return t.Certificate == dead.certificate && t.Address == dead.address
	})
	if i < 0 || !dead.since.IsZero() && d.is.Tokens[i].Registered.After(dead.since) {
		return false, nil
	}
	return true, c.retire(d, d.is.Tokens[i], dead.words, taskID)
}

// RetireTokens takes tokens from devices that still have them.
func (t *Tasks) RetireTokens(ctx context.Context, ref task.Ref, units []task.Gone) (retired int, err error) {
	r := t.running(ref)
	if r == nil { // it has ended: its tokens are dead all the same
		if r, err = t.ended(ctx, ref); err != nil {
			return 0, err
		}
	}
	for piece := range slices.Chunk(units, task.MaxPage) {
		n, err := t.retirePiece(ctx, r, piece)
		retired += n
		if err != nil {
			return retired, err
		}
	}
	return retired, t.wait(r)
}

func (t *Tasks) retirePiece(ctx context.Context, r *running, units []task.Gone) (retired int, err error) {
	var dead []deadToken
	r.x.mu.RLock()
	for _, g := range units {
		if n, exists := r.x.users.Find(g.Account); exists {
			dead = append(dead, deadToken{number: n, certificate: g.Certificate, address: g.Address, words: g.Words})
		}
	}
	r.x.mu.RUnlock()
	if len(dead) == 0 {
		return 0, nil
	}
	return t.commitDevices(ctx, r, dead, nil, nil, func(*journal.Batch) {})
}
