// Package testenv reads the environment variables that change what tests do:
//
//	TIDINGS_TEST_REQUIRE=all  a test fails, and does not skip, if this machine lacks what it needs
//	TIDINGS_TEST_ROUNDS=F     random tests run F times as long, 0.1 or 20 for example
//	TIDINGS_TEST_SEED=N       random tests repeat the run that logged this seed
package testenv

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Need skips a test if err says that this machine lacks what the test needs. With
// TIDINGS_TEST_REQUIRE=all the test fails instead.
func Need(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("TIDINGS_TEST_REQUIRE") == "all" {
		t.Fatalf("needs %s: %v", what, err)
	}
	t.Skipf("needs %s: %v", what, err)
}

// Rounds returns how often a random test repeats what it repeats n times by default. The
// least is once.
func Rounds(n int) int {
	if f, err := strconv.ParseFloat(os.Getenv("TIDINGS_TEST_ROUNDS"), 64); err == nil {
		return max(1, int(float64(n)*f))
	}
	return n
}

// Seed returns a new seed for a random test, or that of TIDINGS_TEST_SEED.
func Seed(t testing.TB) uint64 {
	t.Helper()
	if s := os.Getenv("TIDINGS_TEST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return rand.Uint64()
}
