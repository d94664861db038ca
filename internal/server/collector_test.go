package server

import "testing"

func TestRoomFor(t *testing.T) {
	for live, want := range map[uint64]int{0: 100, 30 << 20: 100, 256 << 20: 100, 512 << 20: 50, 1 << 30: 30, 1 << 40: 30} {
		if got := roomFor(live); got != want {
			t.Errorf("roomFor(%d MiB) = %d, want %d", live>>20, got, want)
		}
	}
}
