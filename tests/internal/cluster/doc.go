//go:build unix

// Package cluster gives tests a whole Doorbell as it is deployed: a Postgres and a Redis of the test's own, processes of the
// built binary (APIs, gateways, workers) and nginx in front of them with the shipped configuration.
//
//	c := cluster.Start(t, cluster.Options{})
//	c.APIs[1].Kill()
//	c.Redis.Freeze()
//	client := c.Client()             // through nginx
//	client := c.APIs[0].Client()     // past it
//
// Everything ends with its test. Processes are only ever signalled by their handles.
package cluster
