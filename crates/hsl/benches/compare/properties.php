<?php
class Point {
	public $x, $y, $z;
	function __construct() { $this->x = 1; $this->y = 2; $this->z = 3; }
}
function work() {
	$point = new Point();
	for ($i = 0; $i < 1000000; $i += 1) {
		$point->y = $point->x + $point->z;
		$point->z = $point->y - $point->x;
	}
	return $point->y + $point->z;
}
