"""The minimum: brackets that shrink, by trees that follow their incumbent or by bisection."""
