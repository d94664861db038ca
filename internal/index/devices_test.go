package index

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"tidings/internal/audience"
)

// TestDevicesAgreeWithModel binds devices, takes them away and deletes accounts at
// random, and compares with maps.
func TestDevicesAgreeWithModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	u := NewUsers()
	want := map[uint32]Device{} // by number
	var users, plain []uint32
	for i := range 30 {
		users = append(users, add(u, fmt.Sprint("user", i), audience.UserID, 1))
		plain = append(plain, add(u, fmt.Sprint("device", i), audience.RegistrationID, 1))
	}
	for step := range 5000 {
		switch r.IntN(20) {
		case 0: // a user or a device is deleted, and another made
			i, list, kind := r.IntN(30), users, audience.UserID
			if r.IntN(2) == 0 {
				list, kind = plain, audience.RegistrationID
			}
			u.remove(list[i], 1)
			delete(want, list[i])
			for n, d := range want {
				if d.Bound && d.Owner == list[i] {
					d.Bound, d.Owner = false, 0
					want[n] = d
				}
			}
			list[i] = add(u, fmt.Sprint("again", kind, step), kind, 1)
		case 1:
			u = readAgain(t, u)
		default:
			d := Device{Number: plain[r.IntN(30)], Facet: fmt.Sprint("facet", r.IntN(8))}
			if r.IntN(3) > 0 {
				d.Owner, d.Bound = users[r.IntN(5)], true
			}
			if err := u.ApplyDevice(&d); err != nil {
				t.Fatal(err)
			}
			want[d.Number] = d
		}
		if step%50 == 0 {
			sameDevices(t, &u.View, want, users)
		}
	}
	if err := u.Verify(); err != nil {
		t.Error(err)
	}
}

func sameDevices(t *testing.T, u *View, want map[uint32]Device, users []uint32) {
	t.Helper()
	of, facets := map[uint32][]uint32{}, map[string]uint32{}
	for n, d := range want {
		facets[d.Facet]++
		f, is := u.Facet(n)
		owner, bound := u.Owner(n)
		if !is || string(u.FacetText(f)) != d.Facet || bound != d.Bound || bound && owner != d.Owner {
			t.Fatalf("device %d has owner %d %v, want %+v", n, owner, bound, d)
		}
		if bound {
			of[owner] = append(of[owner], n)
		}
	}
	for _, user := range users {
		slices.Sort(of[user])
		if got := slices.Sorted(u.Devices(user)); !slices.Equal(got, of[user]) {
			t.Fatalf("the devices of user %d are %v, want %v", user, got, of[user])
		}
	}
	if got := slices.Collect(u.DevicesFrom(0)); !slices.Equal(got, slices.Sorted(maps.Keys(want))) || u.DeviceCount() != len(want) {
		t.Fatalf("the devices are %v, %d, want %v", got, u.DeviceCount(), want)
	}
	for f := range u.Facets() {
		if n := u.FacetDevices(f); n > 0 {
			if text := string(u.FacetText(f)); facets[text] != n {
				t.Fatalf("%d devices have facet %s, want %d", n, text, facets[text])
			} else {
				delete(facets, text)
			}
		}
	}
	if len(facets) > 0 {
		t.Fatalf("no device has the facets %v", facets)
	}
}

// withDevices returns users with devices: user 0 has devices 1 and 2, and device 3 has
// no owner.
func withDevices() *Users {
	u := NewUsers()
	add(u, "user", audience.UserID, 1)
	for i := range uint32(3) {
		n := add(u, fmt.Sprint("device", i), audience.RegistrationID, 1)
		if err := u.ApplyDevice(&Device{Number: n, Bound: i < 2, Facet: fmt.Sprint("facet", i/2)}); err != nil {
			panic(err)
		}
	}
	add(u, "no device", audience.RegistrationID, 1)
	return u
}

// TestDeviceRefused: devices that do not fit are errors and change nothing.
func TestDeviceRefused(t *testing.T) {
	u := withDevices()
	full := add(u, "full", audience.UserID, 1)
	for i := range MaxDevices {
		n := add(u, fmt.Sprint("of full", i), audience.RegistrationID, 1)
		if err := u.ApplyDevice(&Device{Number: n, Owner: full, Bound: true, Facet: "f"}); err != nil {
			t.Fatal(err)
		}
	}
	before := canonicalOf(t, &u.View)
	for _, d := range []Device{
		{},
		{Number: 0, Facet: "f"},       // a UserID
		{Number: 1 << 30, Facet: "f"}, // nobody
		{Number: 1},                   // without a facet
		{Number: 1, Facet: string(make([]byte, 256))},    // too long
		{Number: 1, Owner: 2, Bound: true, Facet: "f"},   // of a device
		{Number: 1, Owner: 1e9, Bound: true, Facet: "f"}, // of nobody
		{Number: 1, Owner: full, Bound: true, Facet: "f"},
	} {
		if u.ApplyDevice(&d) == nil {
			t.Errorf("ApplyDevice(%+v) succeeded", d)
		}
		if !bytes.Equal(canonicalOf(t, &u.View), before) {
			t.Fatalf("ApplyDevice(%+v) changed something", d)
		}
	}
}

// TestCanonicalSeesDevices: parts of the devices that disagree show.
func TestCanonicalSeesDevices(t *testing.T) {
	want := canonicalOf(t, &withDevices().View)
	for i, spoil := range []func(*devices){
		func(d *devices) { d.owner.set(3, 1) },
		func(d *devices) { d.owner.set(1, 0) },
		func(d *devices) { d.link.set(0, 0) },
		func(d *devices) { d.link.set(2, 0) },
		func(d *devices) { d.facet.set(1, 2) },
		func(d *devices) { d.facet.set(3, 0) },
		func(d *devices) { d.count.set(0, 1) },
		func(d *devices) { d.n++ },
	} {
		u := withDevices()
		spoil(&u.devices)
		if bytes.Equal(canonicalOf(t, &u.View), want) {
			t.Errorf("spoiling part %d does not show", i)
		}
	}
}

// TestBrokenDevicesAreNotRead: of a file whose devices make no sense nothing is made.
func TestBrokenDevicesAreNotRead(t *testing.T) {
	for i, spoil := range []func(*devices){
		func(d *devices) { d.owner.set(1, 3) },            // of a device
		func(d *devices) { d.owner.set(1, 1e9) },          // of nobody
		func(d *devices) { d.owner.set(0, 1) },            // a user has an owner
		func(d *devices) { d.facet.set(0, 1) },            // a user is a device
		func(d *devices) { d.facet.set(1, 9) },            // no such facet
		func(d *devices) { d.facet.set(1, 0) },            // an owner and no facet
		func(d *devices) { d.facets.add("of no device") }, // and counts as one that is used
	} {
		u := withDevices()
		spoil(&u.devices)
		var b bytes.Buffer
		w := NewWriter(&b)
		u.Write(w)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		r := NewReader(&b, int64(b.Len()))
		if again := ReadUsers(r); r.Err() == nil && again.Verify() == nil {
			t.Errorf("spoiling part %d is not seen", i)
		}
	}
}

// TestDeviceMemory: what devices take of memory beyond other accounts, which is at most
// 40 bytes each.
func TestDeviceMemory(t *testing.T) {
	const n = 100_000
	u := NewUsers()
	r := rand.New(rand.NewPCG(1, 1))
	for i := range n {
		add(u, fmt.Sprintf("user%08d", i), audience.UserID, 1_700_000_000)
	}
	before := u.Memory()
	for i := range n {
		d := Device{Number: add(u, fmt.Sprintf("%016x", r.Uint64()), audience.RegistrationID, 1_700_000_000), Facet: fmt.Sprint("facet", r.IntN(300))}
		d.Owner, d.Bound = uint32(r.IntN(n)), i%10 > 0
		if err := u.ApplyDevice(&d); err != nil {
			t.Fatal(err)
		}
	}
	after := u.Memory()
	account, beyond := float64(after.Accounts-before.Accounts)/n, float64(after.Devices-before.Devices)/n
	t.Logf("a device takes %.1f bytes, and its account %.1f", beyond, account)
	if beyond > 20 || account+beyond > 45 {
		t.Errorf("a device takes %.1f bytes, and its account %.1f", beyond, account)
	}
}
