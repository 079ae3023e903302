// Package drivers tests package sqlstore with real drivers and databases. It is a module
// of its own, so that programs that use Bakestone do not depend on the drivers.
package drivers
