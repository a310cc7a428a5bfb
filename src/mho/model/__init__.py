"""What acts on a whole model: conversion, the life of its crossbars, calibration, listings."""
