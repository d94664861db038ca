package lsm

import (
	"context"
	"slices"
)

// What kicks and deletions of accounts do to devices.

// hintDevicesOf reads the records of the devices of accounts.
func (s *Users) hintDevicesOf(ctx context.Context, app uint32, accounts []string) (*hints, error) {
	return s.hintFound(ctx, app, func(x *tenant) []uint32 { return x.devicesOf(accounts) })
}

// devicesOf returns the devices among accounts, and those of the others.
func (x *tenant) devicesOf(accounts []string) (numbers []uint32) {
	for _, account := range accounts {
		switch n, exists := x.users.Find(account); {
		case !exists:
		case x.users.IsDevice(n):
			numbers = append(numbers, n)
		default:
			numbers = slices.AppendSeq(numbers, x.users.Devices(n))
		}
	}
	return numbers
}

// changeDevicesOf reads the devices that are among accounts, and those of the others.
func (s *Users) changeDevicesOf(x *tenant, h *hints, accounts []string) (*deviceChange, error) {
	c := s.changeDevices(x, h)
	for _, n := range x.devicesOf(accounts) {
		if _, err := c.device(n); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// accountGone takes away the device that an account is, or takes the devices of a user from
// it. They have been read.
func (c *deviceChange) accountGone(account uint32) {
	for _, d := range c.list {
		switch {
		case d.number == account:
			d.gone = true
		case d.bound && d.owner == account:
			d.unbind()
		}
	}
}
